"""The report's look: one column, quiet, and without loss when it is printed in black and white."""

CSS = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #555d66; --line: #c9ced4; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 3rem; max-width: 78rem; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .7rem; padding-bottom: .25rem; border-bottom: 2px solid var(--ink); }
p { margin: .5rem 0; max-width: 62rem; }
.about { color: var(--soft); margin-bottom: 1rem; }
.band { display: grid; grid-template-columns: auto auto 1fr; gap: .4rem 1.4rem; align-items: center;
  padding: 1rem 1.4rem; border: 3px solid; border-left-width: 1rem; border-radius: 4px; }
.band p { margin: 0; }
.band .sign { font-size: 3rem; line-height: 1; font-weight: 700; }
.band .word { font-size: 1.9rem; line-height: 1.1; font-weight: 800; letter-spacing: .03em; }
.band .meaning { max-width: 19rem; color: var(--ink); font-size: .9rem; }
.band .summary { color: var(--ink); border-left: 1px solid var(--line); padding-left: 1.4rem; overflow-wrap: anywhere; }
.band.pass { color: #0b5d34; background: #eaf6ef; border-style: solid; }
.band.fail { color: #9c1c12; background: #fdeeec; border-style: double; border-width: 6px; border-left-width: 1rem; }
.band.inconclusive { color: #7a4b00; background: #fff6e2; border-style: dashed; border-left-style: solid; }
.tiles { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: .8rem; margin: .6rem 0 1.2rem; }
.tiles > div { border: 1px solid var(--line); border-top: 4px solid var(--ink); padding: .5rem .8rem .6rem; }
.tiles dt { font-size: .85rem; color: var(--soft); line-height: 1.3; }
.tiles dd { margin: 0; font-size: .85rem; color: var(--soft); }
.tiles dd.big { font-size: 1.8rem; font-weight: 700; color: var(--ink); line-height: 1.2; }
h3 { font-size: 1rem; margin: .4rem 0; overflow-wrap: anywhere; }
.table { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .35rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid var(--ink); vertical-align: bottom; }
th.row { font-weight: 600; overflow-wrap: break-word; }
th.number, td.number { text-align: right; white-space: nowrap; }
td.words { overflow-wrap: anywhere; }
th.row { min-width: 7rem; } td.words { min-width: 5.4rem; } thead th.number { white-space: normal; }
.rules th.row { width: 27%; } .rules td.words:last-child { width: 26%; }
.ci { display: block; color: var(--soft); font-size: .8rem; font-weight: 400; }
td.number .ci { font-size: .75rem; line-height: 1.25; }
.words .case { display: inline-block; overflow-wrap: anywhere; }
.again { color: var(--soft); font-weight: 400; }
table.matrix { width: auto; font-size: .8rem; line-height: 1.3; }
.matrix th, .matrix td { padding: .12rem 0; border: 1px solid #dfe2e6; text-align: center; width: 2.55rem;
  min-width: 1.5em; }
.matrix thead th { border-bottom: 2px solid var(--ink); vertical-align: bottom; font-weight: 600; }
.matrix .corner { font-weight: 400; color: var(--soft); font-size: .72rem; line-height: 1.1; }
.matrix .same { background: #e9ecef; color: #555d66; }
.matrix .other, .matrix td.lost { background: #000; color: #fff; font-weight: 800; font-size: 1.05em; }
.matrix td.lost { background: repeating-linear-gradient(45deg, #000 0 3px, #5a5a5a 3px 5px); text-shadow: 0 0 3px #000,
  0 0 3px #000; }
.matrix th.lost { font-size: .72rem; line-height: 1.1; width: 3.4rem; }
.matrix th.edge, .matrix td.edge { border-right: 2px solid #7d858e; }
.matrix tr.edge > * { border-bottom: 2px solid #7d858e; }
.decision { white-space: nowrap; font-weight: 700; padding: .05rem .45rem; border: 2px solid; border-radius: 3px; }
.decision.yes { color: #0b5d34; border-color: transparent; padding-left: 0; }
.decision.no { color: #9c1c12; }
.decision.open { color: #7a4b00; border-style: dashed; }
.unseen { border-left: 5px solid var(--ink); padding: .3rem 0 .3rem .8rem; }
figure { margin: 1rem 0 1.6rem; break-inside: avoid; }
figure img { display: block; max-width: 100%; height: auto; }
figure.chart img { width: 100%; }
figcaption { font-size: .9rem; margin-top: .35rem; max-width: 62rem; overflow-wrap: anywhere; }
.pair { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
.matrices .matrix { width: 100%; table-layout: fixed; font-size: .64rem; }
.matrices .matrix th, .matrices .matrix td { width: auto; min-width: 0; }
.matrices .matrix thead th { font-size: .55rem; letter-spacing: -.02em; }
.matrices .matrix .corner { width: 1.7rem; } .matrices .matrix th.lost { width: 1.9rem; }
.pair > * { flex: 1 1 24rem; margin-bottom: .6rem; min-width: 0; }
footer { margin-top: 2.5rem; padding-top: .8rem; border-top: 2px solid var(--ink); font-size: .85rem; }
footer dl { display: grid; grid-template-columns: auto 1fr; gap: .15rem 1rem; margin: .5rem 0 0; }
footer dt { color: var(--soft); } footer dd { margin: 0; overflow-wrap: anywhere; }
@media screen and (max-width: 50rem) { .band { grid-template-columns: auto 1fr; } .band .summary { grid-column: 1 / -1;
  border-left: 0; padding-left: 0; } .tiles { grid-template-columns: repeat(2, 1fr); } }
@page { size: A4; margin: 14mm 12mm; }
@media print {
  html { font-size: 12px; }
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  h2, h3, caption, thead, section > p { break-after: avoid; } thead { display: table-header-group; }
  tbody tr:first-child { break-before: avoid; } tbody tr:nth-child(-n+2) { break-after: avoid; }
  tbody tr:nth-last-child(-n+3):not(:last-child) { break-after: avoid; }
  tr, .band, .tiles, .pair > * { break-inside: avoid; }
  .table { overflow: visible; } table { font-size: 8.5pt; } th, td { padding: .15rem .35rem; }
  figure img { max-height: 235mm; } p { break-inside: avoid; } .pair { flex-wrap: nowrap; break-inside: avoid; }
  .pair > * { flex: 1 1 0; }
  table.matrix { width: 100%; table-layout: fixed; font-size: 7.5pt; break-inside: avoid; }
  .matrix th, .matrix td { padding: .05rem 0; width: auto; } .matrix thead { display: table-row-group; }
  .matrix thead th { font-size: 7pt; } .matrix thead .corner, .matrix thead th.lost { font-size: 6pt; }
  .matrices { display: block; break-inside: auto; } .matrices > * { break-inside: avoid; margin-bottom: 5mm; }
  .matrices .matrix { font-size: 7.5pt; } .matrices .matrix thead th { font-size: 7pt; }
  .matrices .matrix thead th.lost, .matrices .matrix thead .corner { font-size: 6pt; width: 9mm; }
  .ci, td.number .ci, .words .case { font-size: 7.5pt; }
  .tiles dd.big { font-size: 15pt; } .band .summary { font-size: 9.5pt; } footer { break-inside: avoid; }
  .band, .tiles, .decision, .matrix { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
