/** Charts of what the last runs took: time, fuel, heap, and pages of wasm memory. Each is also there as a table. */

import { element } from './values.js';

export interface Figures {
  /** Milliseconds. */
  time: number;
  /** Not known of runs that have failed. */
  fuel: number | null;
  /** Bytes of Lua values after the run. */
  heap: number;
  /** Pages of wasm memory after the run, 64 KiB each. */
  pages: number;
}

interface Chart {
  title: string;
  unit: string;
  value: (figures: Figures) => number | null;
  format: (value: number) => string;
}

const RUNS_MAX = 40;
const [WIDTH, HEIGHT] = [400, 90];

const whole = (value: number): string => Math.round(value).toLocaleString('en');
const CHARTS: readonly Chart[] = [
  { title: 'Time', unit: 'ms', value: ({ time }) => time, format: (value) => (value < 100 ? value.toFixed(1) : whole(value)) },
  { title: 'Fuel', unit: 'units', value: ({ fuel }) => fuel, format: whole },
  { title: 'Heap', unit: 'KiB', value: ({ heap }) => heap / 1024, format: whole },
  { title: 'Memory', unit: 'pages', value: ({ pages }) => pages, format: whole },
];

const runs: Figures[] = [];

export function recordRun(figures: Figures): void {
  runs.push(figures);
  if (runs.length > RUNS_MAX) runs.shift();
}

export function showCharts(panel: HTMLElement): void {
  if (runs.length === 0) {
    panel.replaceChildren(element('p', 'empty', 'Run a program: what each run takes is drawn here.'));
    return;
  }
  panel.replaceChildren(element('div', 'charts', ...CHARTS.map(showChart)), showTable());
}

function showChart(chart: Chart): HTMLElement {
  const values = runs.map(chart.value);
  const known = values.filter((value): value is number => value !== null);
  const last = values.at(-1) ?? null;
  const words = last === null ? 'not known' : `${chart.format(last)} ${chart.unit}`;
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const range = known.length === 0 ? '' : `${chart.format(least)} to ${chart.format(most)} in ${runs.length === 1 ? 'one run' : `${runs.length} runs`}`;
  const drawing = draw(values, most);
  drawing.setAttribute('role', 'img');
  drawing.setAttribute('aria-label', `${chart.title} of the last runs: ${words} now, ${range}`);
  const head = element('p', 'chart-head', element('span', 'chart-title', chart.title), element('strong', '', words));
  return element('div', 'chart', head, drawing, element('p', 'muted', range));
}

/** Bars from left to right, the last run at the right and marked. */
function draw(values: readonly (number | null)[], most: number): SVGSVGElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  const step = WIDTH / Math.max(values.length, 12);
  const left = WIDTH - step * values.length;
  values.forEach((value, index) => {
    if (value === null) return;
    const height = Math.max((value / Math.max(most, 1e-9)) * (HEIGHT - 4), 2);
    const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    bar.setAttribute('class', index === values.length - 1 ? 'bar-last' : 'bar-run');
    bar.setAttribute('x', (left + index * step + step * 0.12).toFixed(2));
    bar.setAttribute('width', (step * 0.76).toFixed(2));
    bar.setAttribute('y', (HEIGHT - height).toFixed(2));
    bar.setAttribute('height', height.toFixed(2));
    svg.append(bar);
  });
  return svg;
}

function showTable(): HTMLElement {
  const header = element('tr', '', ...['Run', ...CHARTS.map(({ title, unit }) => `${title}, ${unit}`)].map((name) => heading('col', name)));
  const rows = runs.map((figures, index) => {
    const cells = CHARTS.map(({ value, format }) => {
      const found = value(figures);
      return element('td', '', found === null ? '–' : format(found));
    });
    return element('tr', '', heading('row', String(index + 1)), ...cells);
  });
  const table = element('table', '', element('thead', '', header), element('tbody', '', ...rows.reverse()));
  const details = element('details', 'numbers', element('summary', '', 'As a table'), element('div', 'scroll', table));
  details.querySelector('.scroll')?.setAttribute('tabindex', '0');
  return details;
}

function heading(scope: string, name: string): HTMLElement {
  const made = element('th', '', name);
  made.setAttribute('scope', scope);
  return made;
}
