/** The tab pattern: arrow keys move between tabs, Home and End to the first and last, only the chosen one is in the tab order. */

/** Connects the tabs of a list with the panels that they control, and gives the function that chooses one by its panel. */
export function connectTabs(list: HTMLElement, chosenFirst = 0): (panel: HTMLElement) => void {
  const tabs = [...list.querySelectorAll<HTMLElement>('[role=tab]')];
  const panels = tabs.map((tab) => document.getElementById(tab.getAttribute('aria-controls') ?? '') as HTMLElement);
  const select = (chosen: number): void => {
    tabs.forEach((tab, index) => {
      tab.setAttribute('aria-selected', String(index === chosen));
      tab.tabIndex = index === chosen ? 0 : -1;
    });
    panels.forEach((panel, index) => (panel.hidden = index !== chosen));
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener('click', () => select(index));
    tab.addEventListener('keydown', (event) => {
      const next = target(event.key, index, tabs.length);
      if (next === null) return;
      event.preventDefault();
      select(next);
      tabs[next]?.focus();
    });
  });
  select(chosenFirst);
  return (panel) => select(panels.indexOf(panel));
}

function target(key: string, index: number, count: number): number | null {
  switch (key) {
    case 'ArrowRight':
      return (index + 1) % count;
    case 'ArrowLeft':
      return (index - 1 + count) % count;
    case 'Home':
      return 0;
    case 'End':
      return count - 1;
    default:
      return null;
  }
}
