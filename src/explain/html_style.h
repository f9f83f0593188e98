#pragma once

// What the page of an explanation needs beside its content.
namespace wick {

inline constexpr const char* html_style = R"(
:root { --ink:#1c2733; --soft:#5b6875; --line:#dde3e9; --bar:#c2453a; --paper:#fff; --tint:#f4f6f8; }
* { box-sizing:border-box }
body { font:14px/1.45 system-ui,sans-serif; color:var(--ink); background:var(--paper); margin:0 auto;
  max-width:1240px; padding:24px 28px 80px }
h1 { font-size:22px; margin:0 0 4px } h2 { font-size:16px; margin:34px 0 8px }
p { margin:4px 0 10px } .soft { color:var(--soft) }
.cards { display:flex; flex-wrap:wrap; gap:10px; margin:16px 0 }
.card { background:var(--tint); border-radius:8px; padding:10px 14px; min-width:150px }
.card b { display:block; font-size:18px; font-weight:600 } .card span { color:var(--soft); font-size:12px }
.row { display:grid; grid-template-columns:minmax(260px,1fr) 64px 104px 104px 96px 150px; gap:10px;
  align-items:baseline; padding:3px 8px; border-bottom:1px solid var(--line) }
.row > :not(:first-child) { text-align:right; font-variant-numeric:tabular-nums; white-space:nowrap }
.head { color:var(--soft); font-size:12px; position:sticky; top:0; background:var(--paper); z-index:1 }
details > .row { cursor:pointer } details[open] > .row { background:var(--tint) }
summary { list-style-position:inside } summary.row { list-style:none }
summary.row > :first-child::before { content:"\25B8"; display:inline-block; width:14px; color:var(--soft) }
details[open] > summary.row > :first-child::before { content:"\25BE" }
.part .part > .row > :first-child { padding-left:18px } .part .part .part > .row > :first-child { padding-left:36px }
.part > .step > :first-child { padding-left:32px } .part .part > .step > :first-child { padding-left:50px }
.part .part .part > .step > :first-child { padding-left:68px }
.step { font-size:13px } .step small { color:var(--soft); display:block; overflow-wrap:anywhere }
.step code { font:12px ui-monospace,monospace }
.gradient { color:#8a4f1d }
.share { display:flex; align-items:center; gap:8px; justify-content:flex-end }
.share i { display:block; height:8px; background:var(--bar); border-radius:2px; min-width:1px }
.share em { font-style:normal; width:46px }
pre { font:12px/1.4 ui-monospace,monospace; background:var(--tint); padding:10px; border-radius:8px; overflow:auto;
  max-height:420px }
.scroll { overflow:auto; max-height:760px; border:1px solid var(--line); border-radius:8px }
.controls { display:flex; gap:8px; margin:6px 0 }
button,input { font:inherit; padding:4px 10px; border:1px solid var(--line); border-radius:6px; background:#fff }
input { flex:0 1 300px }
.hidden { display:none }
)";

inline constexpr const char* html_script = R"(
const plan = document.getElementById('plan');
const parts = [...plan.querySelectorAll('details')];
document.getElementById('open').onclick = () => parts.forEach(d => d.open = true);
document.getElementById('close').onclick = () => parts.forEach(d => d.open = false);
document.getElementById('filter').oninput = e => {
  const wanted = e.target.value.toLowerCase();
  plan.querySelectorAll('.step').forEach(s =>
    s.classList.toggle('hidden', wanted !== '' && !s.textContent.toLowerCase().includes(wanted)));
  parts.forEach(d => {
    const found = d.querySelector('.step:not(.hidden)') !== null;
    d.classList.toggle('hidden', !found);
    d.open = wanted !== '' && found;
  });
};
)";

}  // namespace wick
