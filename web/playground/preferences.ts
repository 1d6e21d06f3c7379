/** What the page remembers of its reader: the program and the colours. Without them where the browser keeps nothing. */

const THEME_KEY = 'cu-playground-theme';

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Full, or refused: the page works without.
  }
}

/** The reader's colours in place of the system's. */
export function connectTheme(choice: HTMLSelectElement): void {
  choice.value = recall(THEME_KEY) ?? '';
  const apply = (): void => void (document.documentElement.dataset['theme'] = choice.value);
  choice.addEventListener('change', () => {
    remember(THEME_KEY, choice.value);
    apply();
  });
  apply();
}
