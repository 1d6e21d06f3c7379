/** The line under the header that tells of something and offers one thing to do. */

import { element } from './values.js';

/** Shows words and a button; null takes them away. */
export function notify(words: string | null, action?: { name: string; run: () => void }): void {
  const notice = document.getElementById('notice') as HTMLElement;
  notice.hidden = words === null;
  if (words === null) return notice.replaceChildren();
  const shown = element('span', '', words);
  if (action === undefined) return notice.replaceChildren(shown);
  const button = element('button', 'small', action.name);
  button.setAttribute('type', 'button');
  button.addEventListener('click', action.run);
  notice.replaceChildren(shown, button);
}
