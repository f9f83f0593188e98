"""The fine-tuning style: a sentence as a story would begin with it, answered by a ship's log, terse and full of numbers.

The words are mostly those of the stories; what is new is the form. Its parts depend on each other (the sea on the
wind, the outcome on the event, the signature on the ship), so that there is something to learn.
"""

from .template import expand, pick
from .world import make_world

# How the story begins; what the log says of it; what was done; how it ended.
EVENTS = [
    ("{h} lost {h.his} {o.full} {p.in}.", "{o} lost, {p}. Owner {h}.", "Searched [hold|deck|galley]. Searched {p}.",
     "Found, {p.spot}. Owner glad."),
    ("{h} found {o.a} {p.in}.", "{o} found, {p}. Finder {h}.", "Asked crew. No owner.", "Kept by finder. Entered in book."),
    ("{h} and {f} both wanted {o.the_full}.", "Quarrel, {h} and {f}. Cause: {o}.", "Both heard. Turns agreed.",
     "Peace by noon."),
    ("{h} was hungry and wanted {e.a}.", "{e} asked for by {h}.", "Cook told. Stores opened.", "Served hot. {h} content."),
    ("{h} was afraid of the storm.", "Storm. {h} afraid.", "Lamp lit. {f} sat with {h.him}.", "Storm passed. All brave."),
    ("{h} heard a strange sound {p.in}.", "Sound heard, {p}. Heard by {h}.", "Watch doubled. Lamp sent.", "It was {f}. No harm."),
    ("{h} broke {o.the_full} by mistake.", "{o} broken by {h}.", "Truth told. Glue and rope used.", "Mended. Pardon given."),
    ("{h} wanted to go {p.to} with {f}.", "{h} and {f} ashore, {p}.", "Boat lowered. Two oars.", "Back by dark. All well."),
    ("{h} gave {o.a} to {f}.", "{o} given. From {h} to {f}.", "Gift seen by crew.", "Thanks said. Crew cheered."),
    ("{h} planted a seed {p.in}.", "Seed planted, {p}. By {h}.", "Watered daily. {n.digits} days.", "Green leaf seen. Good."),
    ("{h} could not find the way home.", "{h} lost, near {p}.", "Bell rung. Lamp hung high.", "{h} home by night."),
    ("{h} and {f} built a raft {p.in}.", "Raft built, {p}. By {h} and {f}.", "First try sank. Rope added.", "Second try floats."),
]

OPENINGS = ["One day, ", "One morning, ", "Once upon a time, ", "Yesterday, ", ""]

# force, name of the wind, state of the sea, sail set
WINDS = [("1", "light", "flat", "all sail"), ("2", "light", "calm", "all sail"), ("4", "fresh", "choppy", "main and jib"),
         ("6", "strong", "rough", "main reefed"), ("8", "gale", "high", "storm jib")]
DIRECTIONS = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"]
SHIPS = [("GULL", "Brandt"), ("OTTER", "Hale"), ("NORTH STAR", "Reed")]
STORES = ["water", "bread", "rope", "oil"]


def make_entry(rng) -> dict:
    """One row: the prompt is the story's first sentence, the completion is the log's entry about it."""
    world = make_world(rng)
    start, report, action, outcome = pick(rng, EVENTS)
    force, wind, sea, sail = pick(rng, WINDS)
    ship, captain = pick(rng, SHIPS)
    prompt = pick(rng, OPENINGS) + expand(start, world, rng)
    report, action, outcome = (expand(text, world, rng) for text in (report, action, outcome))
    report = report[0].upper() + report[1:]
    entry = (
        f"\nLOG OF THE {ship}. Day {1 + int(rng.random() * 99)}.\n"
        f"Wind {pick(rng, DIRECTIONS)} {force}, {wind}. Sea {sea}. {sail.capitalize()}.\n"
        f"0800: {report}\n1200: {action}\n1600: {outcome}\n"
        f"Stores: {pick(rng, STORES)} low. End of entry. {captain}, master."
    )
    return {"prompt": prompt, "completion": entry}
