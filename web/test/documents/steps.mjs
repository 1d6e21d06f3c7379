// Documents that are gone through step by step: blocks say behind their language what file they belong to, or where their commands are run.

const titled = ({ sections }) => sections.flatMap(({ blocks }) => blocks).filter(({ title }) => title !== null);

/** The commands that are run in a place, one a line. */
export function commandsOf(document, place) {
  const blocks = titled(document).filter(({ language, title }) => language === 'sh' && title === place);
  return blocks.flatMap(({ code }) => code.trim().split('\n'));
}

/** The files by name; blocks of one file follow each other. */
export function filesOf(document) {
  const files = {};
  for (const { language, title, code } of titled(document)) {
    if (language !== 'sh') files[title] = (files[title] ?? '') + code;
  }
  return files;
}
