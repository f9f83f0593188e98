"""The templates of the base corpus: openings, plots of several beats that belong together, endings.

Letters in the templates: hero h, friend f, parent m, helper k, things o and u, foods e and g, places p and q,
weather w, color c, number n, digits d. See world.py for their forms, template.py for the notation.
"""

OPENINGS = [
    "Once upon a time, there was {h.a} named {h}. {h.He} lived near {p.the}.",
    "Once there was {h.a} called {h}, who lived with {h.his} family by {p.the}.",
    "{h} was {h.a}. [Every day|Every morning|After breakfast] {h.he} [went|walked|ran] {p.to}.",
    "One [bright|cold|quiet|long] [morning|afternoon|day], {h} went {p.to}. {w.looks}.",
    "It was a {w} day. {w.looks}, and {h} was {p.in}.",
    "In a small [village|town] near {p.the} lived {h.a}. {h.His} name was {h}.",
    "{w.looks}. {h} put on {h.his} [boots|coat|{c} scarf|{c} hat] and went {p.to}.",
    "\"[Good morning|Wake up|Look outside], {h}!\" said {m}. {w.looks}. {h} [jumped out of bed|got up at once] "
    "and [ran|went] {p.to}.",
]

FRIENDS_OPENINGS = [
    "There was once {h.a} whose name was {h}. {h.His} best friend was {f}, {f.a}.",
    "Long ago, {h} and {f} lived near {p.the}. {h} was {h.trait}, and {f} was {f.trait}.",
]

# Plots in which hero and friend meet for the first time.
STRANGERS = {"new friend", "the way home", "the lazy one"}

# Every plot is a list of beats; the opening has already put the hero at place p.
PLOTS = {
    "lost and found": [
        "{h} had {o.a}. {h.He} loved [to {o.use}|it more than anything]. But that day the {o} was gone!",
        "[\"Where is my {o}?\" cried {h}.|{h} felt very sad. {h.He} looked in every pocket.|\"Oh no,\" said {h}. \"I lost "
        "my {o}.\"]",
        "{h.He} looked {p.spot}, but it was not there. [Then {h.he} asked {f}.|{f} came to help.] "
        "\"[Let us look together|I will help you|Do not cry],\" said {f}. \"[When did you see it last|Where did you play "
        "yesterday]?\"",
        "[They looked and looked.|They went {q.to} and looked there too.|They searched until {n} o'clock.] "
        "[At last|Then] {f} looked {q.spot} {q.in}. There was the {o}!",
        "\"[Thank you|You found it], {f}!\" said {h}. {h.He} [hugged {f.him}|smiled from ear to ear]. "
        "[That evening {h.he} {o.used} again.|After that {h} always put the {o} in a safe place.]",
    ],
    "sharing food": [
        "{h} had {e.a} in a basket. {h.He} sat down [{p.spot}|to eat].",
        "Then {h} saw {f}. {f} [looked sad|was sitting alone|had tears in {f.his} eyes]. \"[What is wrong|Why are you "
        "sad]?\" asked {h}.",
        "\"I am [very |so ]hungry,\" said {f}. \"[There is nothing to eat at home|I lost my lunch|I forgot my food].\"",
        "{h} [thought for a moment|looked at the {e}]. There was [only a little|not very much]. But {h} was kind. \"[You can "
        "have half|Let us share|Here, take some],\" {h.he} said.",
        "They ate the {e} together, and it tasted [better than ever|very good]. [The next day|Later] {f} came back "
        "with {g.a}. \"[Now I can share with you|This is for you],\" said {f}.",
    ],
    "saving up": [
        "At the market {h} saw {o.a}. {h.He} [wanted|wished] [so much ]to {o.use}. \"How much is it?\" asked {h}.",
        "\"It costs {n} coins,\" said {k}. {h} had only one coin. {h.He} [went home slowly|felt sad].",
        "\"[You can work for it|If you help me, I will pay you],\" said {m}. So {h} [washed the dishes|swept the floor|fed "
        "the hens|carried water|cleaned the windows] every [day|morning].",
        "Day after day the coins [filled a little jar|grew in number]. At last {h} counted {n} coins. {h.He} "
        "ran back as fast as {h.he} could.",
        "[\"Here are {n} coins,\" said {h} proudly.|{h} put the coins on the table, one by one.] \"[You worked hard|Well "
        "done],\" said {k}, and gave {h.him} the {o}. {h} was [proud|happy], and {h.he} {o.used} [all day|until dark].",
    ],
    "rescue": [
        "[Suddenly|Then] {h} heard a small voice. \"Help! Help!\" It came from {q.the}. {h} ran there and saw {f}.",
        "{f} was stuck [between two rocks|high up in a tree|in deep mud|in a hole]. {f.He} could not get out, and {f.he} was "
        "[afraid|tired|cold].",
        "\"[Wait|Hold on|Do not move]!\" called {h}. {h.He} [pulled|tried] with all {h.his} strength, but it was too hard. "
        "[So {h.he} needed a plan.|What could {h.he} do?]",
        "[Then {h} had an idea. {h.He} fetched a long rope.|{h} ran to get {k}, who brought a long rope.] {f} held one end, "
        "and they pulled. One, two, three! {f} was free.",
        "\"You saved me,\" said {f}. \"[I will never forget it|You are a true friend].\" {h} [blushed|smiled]. "
        "\"[Friends help each other|You would do the same for me],\" {h.he} said.",
    ],
    "afraid of the dark": [
        "{h} was afraid of the dark. When night came, [every shadow looked like a monster|{h.he} hid under the blanket].",
        "[One night|That night] the light went out. \"{m}!\" called {h}. {m} came and sat on the bed. \"[What do you hear|What "
        "are you afraid of]?\" {m.he} asked.",
        "\"There is something [at the window|under the bed|behind the door],\" said {h}. {m} took a [lantern|candle]. "
        "\"Let us look together.\"",
        "They looked. It was only [the {o}|the cat|a branch in the wind|an old coat]! {h} began to laugh. "
        "\"[The dark is just the day with its eyes closed|The dark cannot hurt you],\" said {m}.",
        "From then on {h} was [not so afraid|braver]. When {f} was afraid, {h} told {f.him} [the same words|what {m} had "
        "said].",
    ],
    "building": [
        "{h} wanted to build [a raft|a tree house|a tower|a bridge|a little house] {p.in}. \"[I need wood and rope|This "
        "will be hard],\" {h.he} said.",
        "{h.He} worked alone all morning. But [the wind came and blew it over|it was not strong|it fell down with a crash]. "
        "{h} sat down [and cried|in the grass, tired and sad].",
        "{f} came by. \"[May I help|What are you making]?\" {f.he} asked. \"It always falls down,\" said {h}. "
        "\"[Two can do more than one|Let us try again],\" said {f}.",
        "{f} held the wood, and {h} tied the knots. They [worked until sunset|counted {n} knots]. This time it "
        "[stood|held], even when they [pushed it|climbed on it].",
        "\"We did it!\" they shouted. [They painted it {c}.|They put a {c} flag on top.] [It was the best thing they had "
        "ever made.|Everyone came to see it.]",
    ],
    "quarrel": [
        "{h} and {f} found {o.a} {p.spot}. \"I saw it first!\" said {h}. \"No, I did!\" said {f}.",
        "They both pulled at the {o}. [They shouted.|They became angry.] Then something bad happened: {o.broke}.",
        "[Nobody said a word.|It was very quiet.] {h} looked at {f}, and {f} looked at {h}. \"[I am sorry|It was my "
        "fault],\" said {h} at last. \"I am sorry too,\" said {f}.",
        "They took the {o} to {k}. \"[Can you mend it|Will you help us]?\" they asked. {k.Name} [worked with care|nodded and got "
        "some glue]. Soon the {o} was almost like new.",
        "\"[You may have it today, and I tomorrow|Let us take turns],\" said {f}. And so they did. [They never fought about "
        "it again.|It was much more fun that way.]",
    ],
    "storm": [
        "In the afternoon the sky turned [black|dark gray]. [Thunder rolled over the hills.|A strong wind began to blow.] "
        "\"A storm is coming!\" called {h}.",
        "{h} and {f} ran [as fast as they could|hand in hand]. Rain fell harder and harder. [Their shoes were full of "
        "water.|They could hardly see the path.]",
        "\"In here!\" shouted {f}. They hid [{q.spot} {q.in}|in an old hut|in a dry cave]. [It was dark, but it was dry.|They "
        "sat close together to keep warm.]",
        "To pass the time they [told stories|sang songs|counted the seconds after each flash]. {h} had {e.a}, and "
        "they shared it. [Little by little|After {n} songs] the storm grew quiet.",
        "When they came out, there was a rainbow [over {p.the}|from one hill to the other]. \"[Look how beautiful it is|It was "
        "worth the rain],\" said {h}. Then they [jumped in every puddle|walked home together].",
    ],
    "new friend": [
        "{h} had nobody to play with. {h.He} [sat {p.spot} and sighed|kicked a small stone]. [Everyone else was busy.|The day "
        "seemed very long.]",
        "Then someone new came along. It was {f.a} with {o.a}. \"[Hello|Good day],\" {f.he} said in a [soft|shy|friendly] "
        "voice. \"My name is {f}. [We just moved here|I do not know anyone here].\"",
        "\"I am {h},\" said {h}. \"[Do you want to play|What do you have there]?\" {f} [nodded|smiled] and held out the {o}. "
        "\"We can {o.use},\" {f.he} said.",
        "They [played|laughed and played] until the sun went down. {h} showed {f} {q.the}, and there they saw {q.sight}.",
        "\"[Will you come back tomorrow|Can we play again]?\" asked {h}. \"Yes!\" said {f}. {h} went home happy. "
        "[Now the days were not long at all.|It was good to have a friend.]",
    ],
    "warning": [
        "\"Do not go {q.to} [alone|today],\" said {m}. \"[It is not safe|The path is slippery|The water is deep].\" {h} "
        "[promised|said yes]. But {h.he} was [curious|bored].",
        "When nobody was looking, {h} went {q.to}. At first it was [fun|lovely]. {h.He} saw {q.sight}.",
        "Then {h.he} slipped and fell [into the cold water|on the hard stones|into the mud]. [{h.His} knee hurt.|{h.His} coat "
        "was wet and dirty.] \"Help!\" cried {h}.",
        "Luckily {k} heard {h.him} and [came running|pulled {h.him} out]. {k.He} [brought|carried] {h} home. {m} was waiting at "
        "the door.",
        "\"I am sorry, {m},\" said {h}. \"[I did not listen|I broke my promise].\" {m} [hugged {h.him}|dried {h.his} tears]. "
        "\"[I am glad you are safe|Next time, ask me first],\" {m.he} said. And {h} [always did|remembered that day].",
    ],
    "birthday gift": [
        "It was {f}'s birthday. {h} wanted to give {f.him} something [special|nice], but {h.he} had no money. \"[What can I "
        "do|What shall I give]?\" {h.he} asked {m}.",
        "\"The best gifts are made by hand,\" said {m}. So {h} [got|found] some [wood|paper|wool] and began to make {o.a}.",
        "It was not easy. {h} [cut|hurt] a finger and had to start {n} times. [But {h.he} did not give up.|\"I will not give "
        "up,\" {h.he} said.]",
        "At the party {f} opened {h}'s gift. \"A {o}! Did you make it yourself?\" {h} nodded. {f.His} eyes [shone|grew "
        "wide].",
        "\"It is the best gift of all,\" said {f}, and {f.he} {o.used}. Then they all ate cake [with {c} icing|and sang a "
        "song].",
    ],
    "the seed": [
        "{k.Name} gave {h} a [tiny|small] seed. \"Plant it and take care of it,\" {k.he} said. {h} planted it {p.spot}.",
        "Every day {h} [watered it|gave it water] and waited. [One day passed. Two days passed.|{n.Name} days passed.] Nothing "
        "happened. \"[It will never grow|It is too slow],\" said {f}.",
        "But {h} was patient. [\"Good things take time,\" {h.he} said.|{h.He} sang to the seed and kept the birds away.] {w.does}.",
        "Then one morning there was a [small ]green leaf. Soon it was a plant, and then [a tall sunflower|a little tree|a big "
        "pumpkin|a bush full of berries].",
        "\"You were right to wait,\" said {f}. [They sat in its shade together.|They shared what it gave.] And {h} kept one "
        "seed [for the next spring|to give to a friend].",
    ],
    "race": [
        "{f} was the fastest of all. \"Nobody can beat me,\" {f.he} said. \"[I can|I will try],\" said {h} quietly. Everyone "
        "laughed.",
        "They agreed to race from {p.the} to {q.the}. {k.Name} counted: \"One, two, three, go!\" {f} ran [like the wind|far "
        "ahead].",
        "Halfway, {f} looked back and saw nobody. \"I have lots of time,\" {f.he} said, and stopped to [eat {e.a}|take a "
        "nap|look at {q.sight}].",
        "{h} was slow, but {h.he} did not stop. Step by step {h.he} went on. {h.He} passed {f} without a sound.",
        "When {f} [woke up|looked up], {h} was already there! \"[Slow and steady|I just kept going],\" said {h}. {f} shook "
        "{h.his} hand. \"You won fair and square,\" {f.he} said. [The prize was {o.a}.|They had {e.a} together.]",
    ],
    "strange sound": [
        "Every night there was a strange sound {q.in}. [Tap, tap, tap.|Hoo, hoo, hoo.|Scratch, scratch, scratch.] "
        "\"[Is it a ghost|What can it be]?\" whispered {f}.",
        "\"Let us find out,\" said {h}. They took a lantern and [walked on tiptoe|went very slowly]. The sound grew louder.",
        "It came from a place {q.spot}. {h}'s heart beat fast. {h.He} lifted the lantern and [looked|took one more step].",
        "There sat [a tiny kitten|a baby owl|a little mouse|a small bird]! It was [caught in a net|lost|hungry and cold]. "
        "\"[Poor little thing|It was only calling for help],\" said {h}.",
        "They gave it some {e} and [brought it to its mother|kept it warm until morning]. After that the nights were quiet, and "
        "{f} [laughed about the ghost|was not afraid any more].",
    ],
    "cooking": [
        "{h} wanted to make {e.a} for {m}. \"I can do it alone,\" {h.he} said. {h.He} put on [a {c} apron|a big hat] and "
        "began.",
        "{h} did not read the [book|recipe]. {h.He} put in {n} spoons of salt! Then the pot [boiled over|fell down], and the "
        "kitchen was a mess.",
        "{m} came in. {h} [looked at the floor|had flour on {h.his} nose]. \"I wanted to surprise you,\" {h.he} said. {m} did "
        "not get angry. {m.He} [laughed|smiled].",
        "\"First we clean, then we cook,\" said {m}. They washed everything. Then {h} read each step aloud, and {m} helped "
        "with the [oven|knife|fire].",
        "Soon the house smelled wonderful. The {e} was [warm|sweet|just right]. \"[It tastes good because we made it together|You "
        "are a fine cook],\" said {m}.",
    ],
    "the way home": [
        "{h} [followed a butterfly|walked farther than ever before]. When {h.he} looked up, nothing looked the same. \"[Where "
        "am I|Which way is home]?\" {h.he} asked.",
        "It was getting dark. {h} wanted to cry, but {h.he} [took a deep breath|remembered what {m} had said]: \"[If you are "
        "lost, stay calm|Look for something you know].\"",
        "Then {h} met {f}. \"[I can show you the way|Follow the river, and you will find home],\" said {f}. \"[Go past {q.the}, "
        "then turn left|The star above {q.the} points to it].\"",
        "They walked [side by side|for a long time]. They passed {q.the} and saw {q.sight}. [At last there was a light.|Then "
        "{h} heard a bell.] It was home!",
        "{m} ran out and [hugged|kissed] {h}. \"[Where were you|I was so worried]!\" {m.he} said. {f} was invited to supper, and "
        "there was {e.a} for everyone.",
    ],
    "the box": [
        "{h} found a [small|heavy] box {p.spot}. It was locked. \"What is inside?\" {h.he} asked. {f} shook it. [Something "
        "rattled.|It made no sound.]",
        "\"We need a key,\" said {f}. They asked {k}. \"[I have seen a key|There is an old key] {q.in}, {q.spot},\" said {k}.",
        "So they went {q.to}. There they saw {q.sight}, and {q.spot} lay a little {c} key. [\"Hurrah!\" cried {h}.|{h} picked "
        "it up with care.]",
        "The key turned. Click! In the box was {o.a} and a letter. The letter said: \"[Whoever finds this|Dear finder], "
        "[keep it and be happy|use it well|share it with a friend].\"",
        "{h} and {f} looked at each other and smiled. That day they [wrote a letter too|put {u.a} into the box] and hid it for "
        "someone else.",
    ],
    "trading": [
        "{h} had {o.a}, but {h.he} was tired of it. {f} had {u.a}. \"[Shall we trade|Do you want to trade]?\" asked {f}.",
        "\"Yes!\" said {h}. They traded, and at first both were [happy|glad]. {h} {u.used}, and {f} {o.used}.",
        "But that night {h} could not sleep. {h.He} [missed|thought of] the old {o}. [It had been a gift from {m}.|{m} had made "
        "it for {h.him}.]",
        "In the morning {h} ran to {f}. \"[I made a mistake|I am sorry],\" {h.he} said. \"May I have my {o} back?\" {f} laughed. "
        "\"I missed my {u} too!\"",
        "They traded back. \"[Some things you cannot trade|We can always lend them],\" said {f}. And that is what they did: {h} "
        "had the {u} on Mondays, and {f} had the {o} on Fridays.",
    ],
    "broken and honest": [
        "{h} was playing in the house. [{m} had said not to run.|{h.He} was running very fast.] Crash! The {o} of {m} fell "
        "down, and {o.broke}.",
        "{h} was scared. \"[What if {m} gets angry|What should I do]?\" {h.he} thought. {h.He} hid the {o} [under the bed|behind "
        "the door] and said nothing.",
        "At supper {h} could not eat. [{h.His} tummy hurt.|Every bite tasted like sand.] \"Is something wrong?\" asked {m}.",
        "[Then the truth came out.|{h} took a deep breath.] \"I broke your {o},\" {h.he} said, and began to cry. {m} was quiet "
        "for a moment.",
        "\"I am sad about the {o},\" said {m}, \"but I am [glad|proud] that you told me the truth.\" Together they [mended it "
        "with glue|made a new one]. {h} felt [light|much better].",
    ],
    "learning": [
        "{f} could [whistle|swim|skate|row a boat|climb trees] very well, but {h} could not. \"[Please teach me|I want to "
        "learn it too],\" said {h}.",
        "\"[Watch me|Do as I do],\" said {f}. {h} tried, but it [went wrong|did not work]. {h.He} tried again, and it went "
        "wrong again. \"I can not do it!\" {h.he} cried.",
        "\"You can not do it yet,\" said {f}. \"I had to try {n} times.\" So {h} [practised every day|did not give up].",
        "{w.does}, and still {h} went {p.to} to practise. [A little better each day!|{m} watched and smiled.]",
        "And one day, it worked! \"Look at me!\" shouted {h}. {f} clapped. \"[I knew you could|Now you can teach someone "
        "else],\" {f.he} said.",
    ],
    "visit": [
        "{m} was ill and lay in bed, in a house near {q.the}. {h} packed {e.a} and set out to visit {m.him}.",
        "On the way {h} met {f}. \"Where are you going?\" asked {f}. \"To see {m}, who is ill,\" said {h}. [\"Then I will come "
        "too,\" said {f}.|\"May I come with you?\" asked {f}.]",
        "They picked [flowers|berries] and came to {q.the}, where they saw {q.sight}. [Then they knocked at the door.|The door "
        "was open.]",
        "\"Come in, come in!\" called {m}. {h} gave {m.him} the {e}, and {f} [told a funny story|sang a song]. {m} laughed so "
        "much that {m.he} sat up.",
        "\"[A visit is the best medicine|I feel better already],\" said {m}. [They stayed until evening.|They came again the next "
        "day.] And soon {m} was well.",
    ],
    "hurt bird": [
        "{h} found a little bird {p.in}. It could not fly, because its wing was hurt. \"[Poor bird|Do not be afraid],\" said {h} "
        "softly.",
        "{h.He} carried the bird home in {h.his} hat. {m} knew what to do. \"[It needs rest and food|Be gentle with it],\" "
        "{m.he} said.",
        "They made a nest in a box with a warm scarf. Every [morning|day] {h} gave it water and seeds. {h.He} named the bird "
        "[Sky|Feather|Little Wing].",
        "After {n} days the bird [moved its wing|began to sing]. {h} was happy and sad at once. \"Now it wants to go home,\" "
        "said {m}.",
        "{h} opened the window. The bird flew out, turned once in the air, and was gone. [But every spring it came back and "
        "sang for {h}.|\"Goodbye, little friend,\" said {h}.]",
    ],
    "at sea": [
        "When {h} grew up, {h.he} became a sailor on a ship with {n} men. Captain {f} stood on deck and looked at the sea. \"[The wind is good|We sail at "
        "noon],\" said the captain.",
        "They sailed for {n.digits} days. [The water was calm.|The waves were high.] {h} [washed the deck|mended the sails|cooked "
        "{e.a}], and at night the crew sang songs.",
        "Then the wind grew strong. \"Storm!\" shouted {h}. \"All hands on deck!\" They [pulled down the sails|held on to the "
        "ropes]. Water came over the side.",
        "{h} climbed the mast with a lamp. \"I see a light!\" {h.he} called. \"[The lighthouse is to the north|Land to the "
        "east]!\" The captain turned the wheel.",
        "In the morning the sea was flat, and the ship lay safe in the harbor. \"You have good eyes, {h},\" said the captain, "
        "and wrote {h.his} name in the log book.",
    ],
    "treasure": [
        "{h} had an old map. It showed {p.the}, {q.the}, and a {c} cross. \"A treasure!\" whispered {f}. They packed {e.a} and "
        "left at once.",
        "\"First go 10 steps north,\" read {h}, \"then 20 steps east.\" They counted aloud. [\"Eight, nine, ten!\"|{f} lost count, "
        "and they began again.]",
        "They came {q.to}. \"Dig {q.spot}!\" said {f}. They dug and dug. [Their arms were tired.|The hole was as deep as a well.] "
        "Then they hit something hard.",
        "It was a chest! Inside there was no gold, only {o.a} and a note: \"[The real treasure is the way here|Well done, "
        "brave ones].\"",
        "{h} laughed. \"[It was a good day anyway|We did find something],\" {h.he} said. They took turns with the {o}, and went "
        "home [under the stars|singing].",
    ],
    "sleepless": [
        "It was late, but {h} could not sleep. {h.He} counted {n} sheep. {h.He} had some {g}. Nothing helped.",
        "{h} looked out of the window. The moon was [round and white|like a thin boat]. Far away {h.he} saw a light {q.in}.",
        "It was {f}, who could not sleep either! {f} waved {o.a}. {h} waved back. [\"Good night!\" called {h} softly.|They made "
        "up signs: one wave for yes, two for no.]",
        "{m} heard it and came in. \"[Still awake|What are you doing]?\" {m.he} asked. {h} told {m.him} about {f}. {m} sang a "
        "song about {q.the}.",
        "Before the song was over, {h} was asleep. [And the light {q.in} went out too.|In {h.his} dream {h.he} {o.used}.]",
    ],
    "the lazy one": [
        "{f} never helped. When {h} [mended the roof|dug the garden], {f} lay in the sun. When {h} carried wood for the winter, {f} [slept|laughed]. "
        "\"Winter is far away,\" {f.he} said.",
        "{h} worked on. {h.He} filled {h.his} house with [corn and nuts|apples and wood]. The leaves turned red and fell.",
        "Then the snow came. {f} was cold, and there was nothing to eat. {f.He} knocked at the door of {h}. \"[Please let me "
        "in|May I come in],\" {f.he} said.",
        "{h} thought about the summer. Then {h.he} opened the door. \"Come in. There is {e.a}. But next summer you must "
        "help,\" {h.he} said.",
        "\"I promise,\" said {f}. And {f} kept the promise: in spring {f.he} was the first to get up. [They filled two houses that "
        "year.|\"Work is fun with a friend,\" {f.he} said.]",
    ],
    "the wish": [
        "{h} caught a [golden|silver] fish. \"Let me go,\" said the fish, \"and you may have one wish.\" {h} [was very "
        "surprised|nearly fell over].",
        "\"I wish for {o.a},\" {h.he} wanted to say. But then {h} thought of {f}, who was [sick|sad|far from home].",
        "\"I wish that {f} may be [well|happy|with us] again,\" said {h}. The fish looked at {h.him} for a long time. Then it "
        "swam away.",
        "When {h} came home, there stood {f}, [laughing|healthy and well]! \"I do not know how, but I feel wonderful,\" said "
        "{f}.",
        "{h} said nothing and smiled. And the next morning, {o.a} lay at the door. [It was wet and smelled of the sea.|Beside it "
        "was a golden scale.]",
    ],
    "lost pet": [
        "{h} had a little dog called [Spot|Patch|Lucky]. One day the gate was open, and the dog was gone. \"Come back!\" called "
        "{h}.",
        "{h.He} asked {k}. \"I saw a dog {p.in},\" said {k}. {h} ran there, but found only [small footprints|a bone].",
        "The footprints led {q.to}. \"Listen!\" said {f}. \"I hear barking.\" It came from a place {q.spot}.",
        "There was the dog, and beside it lay {n} tiny puppies! [\"So that is why you ran away,\" said {h}.|The dog wagged its "
        "tail.]",
        "They carried all of them home in a basket. {m} said that {f} could keep one. {f} chose the [smallest|{c}] one and named "
        "it [Button|Star|Penny].",
    ],
    "too much": [
        "{h} loved {e}. {m} said, \"Take only one piece.\" But when {m} left the room, {h} took another, and another.",
        "Soon there was no {e} left at all. {h} felt [sick|heavy like a stone]. {h.He} lay down on the floor.",
        "Then {f} came in. \"[Can I have some {e}|I am so hungry],\" {f.he} said. {h} [turned red|looked away]. \"There is none "
        "left. I ate it all.\"",
        "{f} was sad. {h} was sorry. \"Wait,\" {h.he} said, and went to {m} and told {m.him} everything. \"Then we will make "
        "{g.a},\" said {m}.",
        "This time {h} gave the first piece to {f}, and took only a small one. It [tasted better|was enough]. \"[Less can be "
        "more|Now we are both full],\" said {h}.",
    ],
    "the show": [
        "There was going to be a show {p.in}. {h} wanted to sing, but {h.he} was too shy. \"What if they laugh?\" {h.he} asked.",
        "\"Then I will laugh with them, and then we sing,\" said {f}. {f} had {o.a}. \"We can do it together.\"",
        "They practised [for {n} days|every evening]. [At first {h} sang like a mouse.|{h} forgot the words.] But each time it "
        "sounded better.",
        "The day came. {n.Name} people were there. {h}'s knees shook. {f} took {h.his} hand, and {h} began to sing.",
        "It was very quiet. Then everybody clapped! \"[Again|One more song]!\" they called. {h} bowed. \"[I was afraid, and I did it "
        "anyway|That was fun],\" {h.he} said.",
    ],
    "snow day": [
        "Snow had fallen all night. The sign at the school said CLOSED. \"Hurrah!\" cried {h} and called {f}.",
        "They made a snowman with a carrot for a nose and gave it {c} buttons and {o.a}. \"[He looks like {k}|He needs a name],\" "
        "said {f}. \"Let us call him Mr. Frost.\"",
        "Then they rode down the hill, {n} times. [{f} fell into the snow and came up white as a ghost.|Their cheeks were red.]",
        "When their hands were cold, {m} called them in. There was {e.a} on the table, and a fire in the stove.",
        "In the night it grew warm. In the morning only the {o} was left in the grass. \"Goodbye, Mr. Frost,\" said {h}. \"[See you "
        "next year|Come back soon]!\"",
    ],
    "the market": [
        "{m} gave {h} {n} coins and a list. \"Buy {e.a} and {g.a},\" {m.he} said, \"and come straight home.\"",
        "{h} met {f} on the way. They talked and talked. When {h} came to the market, the list was gone! \"[What was it "
        "again|I can not remember],\" {h.he} said.",
        "\"One thing was {e},\" said {h}. \"Was the other one {u.a}?\" So {h} bought {e.a} and {u.a}, and had no coins left.",
        "{m} looked into the basket. \"The {e} is right,\" {m.he} said. \"But {u.a} for supper? We can not eat that!\" Then they both "
        "began to laugh.",
        "{m} kept the {u}, and the next day {h} went again. This time {h.he} said all the way: \"{g}, {g}, {g}!\" [And it "
        "worked.|The people smiled.]",
    ],
    "two doors": [
        "{h} and {f} came to a house with two doors, a {c} one and a black one. A sign said: ONE DOOR ONLY. \"Which one?\" asked "
        "{f}.",
        "\"Let us think,\" said {h}. There was dust in front of the black door, but the {c} door was clean. \"Someone uses this one "
        "every day,\" {h.he} said.",
        "They knocked. {k.Name} opened. \"You are clever,\" {k.he} said. \"Behind the other door there is only a deep hole.\"",
        "Inside it was warm. There was {o.a} on a shelf and {e.a} on the table. \"[Sit down and eat|You must be hungry],\" said "
        "{k}.",
        "When they left, {k} gave them the {o}. \"For those who look before they step,\" {k.he} said. [{h} never forgot it.|And they "
        "shared it all their lives.]",
    ],
    "the tallest tree": [
        "{h} was small. {h.He} could not reach the apples on the tree. \"I wish I were tall like {f},\" {h.he} said.",
        "{f} reached up, but {f.he} could not get the last apple either. It was the biggest and the [reddest|sweetest] of all.",
        "\"Climb on my back,\" said {f}. {h} climbed up, but it was still too far. Then {k} came by. \"Climb on mine,\" said {k} to "
        "{f}.",
        "Now {h} stood at the very top. {h.He} [stretched out a hand|held on with one hand] and picked the apple. \"I have it!\"",
        "They cut it into three pieces. \"You see,\" said {k}, \"without the small one we would have [none|no apple].\" {h} felt very "
        "tall [that day|indeed].",
    ],
    "a dream": [
        "{h} fell asleep {p.spot}. In a dream {h.he} could fly! {h.He} flew over {p.the} and saw {p.sight}.",
        "{h} flew on to {q.the}. There was {f}, as small as an ant. \"Come up!\" called {h}. \"I can not fly,\" answered {f}.",
        "{h} took {f.his} hand, and together they rose into the clouds. The clouds were soft and tasted like {e}.",
        "Then {h} woke up. The sun was low. \"What a dream,\" {h.he} said. But in {h.his} hand was a [white|{c}] feather.",
        "{h} ran to {f} to tell {f.him}. \"How strange,\" said {f}. \"I had the very same dream!\" [And {f.he} held up a feather "
        "too.|They looked at the sky for a long time.]",
    ],
    "the old clock": [
        "The big clock {p.in} had stopped. Nobody knew what time it was. [School began too late.|The bread burned.] \"Someone must "
        "mend it,\" said {k}.",
        "{h} was small enough to climb inside. {f} held the lamp. It was dark and full of wheels. \"What do you see?\" asked "
        "{f}.",
        "\"There is {u.a} between the wheels!\" called {h}. {h.He} pulled and pulled. At last it came out, and the wheels began to "
        "turn.",
        "Tick, tock, said the clock. Then it rang {n} times. Everybody {p.in} looked up and cheered.",
        "\"How did the {u} get there?\" asked {k}. A {c} bird sat on the clock and said nothing. {h} and {f} [laughed|gave the {u} "
        "back to the bird].",
    ],
    "the letter": [
        "The postman gave {h} a letter. On it stood the name of {f}, who lived near {q.the}. \"It came to the wrong house,\" said "
        "{h}. \"I must take it there.\"",
        "It was a long way, and the way was full of [mud|stones]. \"It is only a letter,\" said {k}. \"Wait until tomorrow.\" But {h} went on.",
        "When {h} came {q.to}, {f} was sitting [{q.spot}|at the window], waiting. \"I have been waiting for {n} days,\" "
        "{f.he} said.",
        "{f} opened the letter. It was from {m}. \"{m} is coming home!\" {f} cried, and danced around.",
        "\"Thank you for bringing it today,\" said {f}. \"Tomorrow would have been too late.\" {h} got {e.a} for the way back and "
        "[walked home happily|whistled all the way].",
    ],
    "signs": [
        "{k.Name} asked {h} to paint a sign. {h} took a {c} brush and wrote [FRESH BREAD|HONEY FOR SALE|KEEP OUT|BEWARE OF THE "
        "DOG|QUIET PLEASE|TURN LEFT|GOOD FISH|NEW JAM TODAY|WET PAINT|SHUT THE GATE|LOG CABIN|UP THE HILL].",
        "\"That is fine,\" said {k}. \"Now write [OPEN|SHUT|VERY GOOD|MIND THE STEP|EXIT|ZOO|UNDER REPAIR|WELCOME|JUST "
        "MARRIED|NO BALL GAMES|PLEASE RING] on the other side.\"",
        "{f} came and wanted to paint too. {f.He} wrote {f.his} own name and the number {d.one}, and painted {o.a} beside "
        "it.",
        "But the wind blew the signs into the mud. Now one of them said only [OAK|WHY|JAM|GULL|FOX|VAN|BOX|HUT]. {h} and {f} laughed and "
        "washed them.",
        "In the evening the signs hung {p.in}. Everyone read them, and {k} paid {d.two} cents. [They bought {e.a}.|\"Our first "
        "money!\" said {h}.]",
    ],
    "counting": [
        "{h} liked to count. On Monday {h.he} counted {d.one} birds {p.in}. On Tuesday there were {d.two}.",
        "{h.He} wrote it all in a small {c} book: Day 1: {d.one} birds. Day 2: {d.two} birds. Day 3: {d.three} birds.",
        "\"Why do you do that?\" asked {f}. \"[Nobody counts birds|It is only numbers].\" \"[You will see|Wait],\" said {h}.",
        "One day there was not a single bird. {h} ran to {k}. \"The birds are gone! A storm must be coming!\" {k.Name} looked at "
        "the book and rang the bell.",
        "Everyone [shut the windows|brought in the boats]. At {d.hour} o'clock the storm came, but nobody was hurt. \"You and your "
        "numbers saved us,\" said {f}, and from then on {f.he} counted too.",
    ],
    "the name of the boat": [
        "{h} and {f} had an old boat. It had no name. \"A boat needs a name,\" said {k}. \"Else the sea does not know it.\"",
        "\"[SEA STAR|GULL|NORTH WIND|BLUE WHALE|OTTER|LITTLE HOPE|QUEEN],\" said {h}. \"[KING FISHER|MOON|VALIANT|JOLLY "
        "FROG|SWAN|EXPLORER|ZEPHYR],\" said {f}. They could not agree.",
        "So they raced for it: who was first to row {d.one} strokes? {h} won, but {f} was so sad that {h} said, \"Your name is "
        "better.\"",
        "They painted it in {c} letters. The captain of the harbor wrote it in his log: name, length {d.two} feet, crew 2, wind "
        "[north|south|east|west], sea [calm|rough].",
        "Then they pulled up the sail and left. Water splashed over the deck. \"[All well on board|Steady as she goes]!\" called "
        "{f}.",
    ],
    "the list": [
        "{h} and {f} wanted to travel [to the sea|over the hills|to another land]. \"We must make a list,\" said {f}. \"{o.Name}, "
        "{e}, {u}.\"",
        "{h} wrote it down: \"{o.Name}. {u.Name}. {e.Name}. {g.Name}. [Rope|Lamp|Boat|Book|Glue|Seed|Bell|Raft].\" [The list grew "
        "longer and longer.|It had {d.one} things on it.]",
        "\"[Who will carry all that|How can you carry that]?\" said {m}. \"Take only what you need.\" So they crossed out the {o} and the "
        "{u}.",
        "In the end the list said: \"{e.Name}. [Both of us|Good shoes|Water].\" They put the {e} in a bag and set out.",
        "They came {q.to} and saw {q.sight}. \"Do you miss the {o}?\" asked {f}. \"No,\" said {h}, \"but I would miss you.\"",
    ],
    "the picnic": [
        "{h}, {f} and {m} went {q.to} for a picnic. They had {e.a}, {g.a} and {n} apples in a basket.",
        "They put the blanket [on the grass|in the shade]. Then [an army of ants came|a goose came] and walked right over the {e}!",
        "\"Shoo!\" cried {f}. \"Wait,\" said {m}. \"They are hungry too.\" {h} put some {e} [{q.spot}|a few steps away], and they all went "
        "there.",
        "After lunch they played with {o.a}. {h} {o.used}, and {m} fell asleep with a hat on {m.his} face.",
        "On the way home {f} found an ant on {f.his} sleeve. \"[You are far from home|Come along],\" {f.he} said.",
    ],
}

ENDINGS = [
    "And so the day came to an end.", "The end.", "It was a very good day.", "From that day on, {h} and {f} were the best of friends.",
    "{h} went to bed and slept well.", "{m} was proud of {h}.", "{h} learned that [it is good to be kind|telling the truth is "
    "best|it helps to ask|friends are worth more than gold].", "And they lived happily.",
    "\"[What a day|Tomorrow is a new day],\" said {h}, and closed {h.his} eyes.", "", "", "",
]
