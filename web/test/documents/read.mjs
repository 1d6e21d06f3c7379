// Documents of the project as tests see them: sections with their headings, and blocks of code with the lines they stand on.
import { readFileSync } from 'node:fs';

/** @returns {{name: string, sections: {heading: string, level: number, line: number, lines: string[], blocks: {language: string, title: string | null, code: string, line: number}[]}[]}} */
export function readDocument(name) {
  const lines = readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8').split('\n');
  const sections = [{ heading: '', level: 0, line: 1, lines: [], blocks: [] }];
  let block = null;
  for (const [index, line] of lines.entries()) {
    const fence = /^```(\w*)(?: (.+))?$/.exec(line);
    if (block === null && fence !== null) {
      block = { language: fence[1], title: fence[2] ?? null, code: '', line: index + 2 };
    } else if (block !== null && line === '```') {
      sections.at(-1).blocks.push(block);
      block = null;
    } else if (block !== null) {
      block.code += `${line}\n`;
    } else {
      const heading = /^(#+) (.+)$/.exec(line);
      if (heading !== null) sections.push({ heading: heading[2], level: heading[1].length, line: index + 1, lines: [], blocks: [] });
      sections.at(-1).lines.push(line);
    }
  }
  if (block !== null) throw new Error(`docs/${name}: the block in line ${block.line} does not end`);
  return { name, sections };
}

/** What stands in backticks in these lines: whole spans, and the names in them. */
export function named(lines) {
  const names = new Set();
  for (const [, span] of lines.join('\n').matchAll(/`([^`]+)`/g)) {
    names.add(span);
    for (const name of span.match(/[\w$]+/g) ?? []) names.add(name);
  }
  return names;
}

/** A section with all that lies under its heading. */
export function whole(document, section) {
  const start = document.sections.indexOf(section);
  const after = document.sections.slice(start + 1);
  const end = after.findIndex(({ level }) => level <= section.level);
  return [section, ...(end === -1 ? after : after.slice(0, end))];
}
