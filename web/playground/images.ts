/** Saved states: images of the whole Lua state, kept in the database, taken out as files and read from them. */

import { element } from './values.js';
import type { Session } from './session.js';

/** The table that holds them. */
export const IMAGES_TABLE = 'playground: saved states';

interface Saved {
  bytes: Uint8Array;
  size: number;
  /** Whether a run was under way. */
  running: boolean;
}

const find = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

/** @param onRestored is called when a saved state has taken the place of the present one */
export function connectImages(session: Session, onRestored: () => Promise<void>): () => Promise<void> {
  const list = find('images');
  const answer = find<HTMLOutputElement>('images-answer');
  const file = find<HTMLInputElement>('image-file');

  const attempt = (task: () => Promise<string>): void => {
    task().then(
      (words) => answer.replaceChildren(words),
      (error: unknown) => answer.replaceChildren(element('span', 'error', error instanceof Error ? error.message : String(error))),
    );
  };
  const restore = async (bytes: Uint8Array): Promise<string> => {
    await session.restore(bytes);
    await onRestored();
    return session.cu.running ? 'Restored in the middle of a run: Resume goes on with it.' : 'Restored.';
  };
  const refresh = async (): Promise<void> => {
    const entries = await session.cu.queryEntries(IMAGES_TABLE, { fields: ['size', 'running'] });
    list.replaceChildren(...entries.map(({ key, value }) => row(String(key), value as unknown as Saved)));
  };
  const load = async (key: string): Promise<Uint8Array> => {
    const saved = (await session.cu.getValue(IMAGES_TABLE, key)) as unknown as Saved | null;
    if (saved === null) throw new Error('This state is not there any more.');
    return saved.bytes;
  };

  function row(key: string, { size, running }: Saved): HTMLElement {
    const facts = `${Math.ceil(size / 1024).toLocaleString('en')} KiB${running ? ', in the middle of a run' : ''}`;
    const button = (name: string, action: () => Promise<string>): HTMLElement => {
      const made = element('button', 'small', name);
      made.setAttribute('type', 'button');
      made.setAttribute('aria-label', `${name} the state of ${key}`);
      made.addEventListener('click', () => attempt(action));
      return made;
    };
    return element(
      'li',
      'image',
      element('span', 'image-name', key.slice(0, TIME_SHOWN), ' ', element('span', 'muted', facts)),
      button('Restore', async () => restore(await load(key))),
      button('Download', async () => download(key, await load(key))),
      button('Delete', async () => {
        await session.cu.deleteValue(IMAGES_TABLE, key);
        await refresh();
        find('save-image').focus();
        return 'Deleted.';
      }),
    );
  }

  find('save-image').addEventListener('click', () => attempt(async () => {
    const { cu } = session;
    const [bytes, running] = [await cu.snapshot(), cu.running];
    const saved: Saved = { bytes, size: bytes.length, running };
    await cu.setValue(IMAGES_TABLE, timeName(), saved);
    await refresh();
    return 'Saved.';
  }));
  find('open-image').addEventListener('click', () => file.click());
  file.addEventListener('change', () => {
    const [chosen] = file.files ?? [];
    file.value = '';
    if (chosen !== undefined) attempt(async () => restore(new Uint8Array(await chosen.arrayBuffer())));
  });
  return refresh;
}

async function download(key: string, bytes: Uint8Array): Promise<string> {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([new Uint8Array(bytes)]));
  link.download = `cu ${key.replaceAll(':', '.')}.image`;
  link.click();
  URL.revokeObjectURL(link.href);
  return 'Downloaded. The program cu goes on with it too: cu resume FILE.';
}

/** Characters of such a name without its milliseconds. */
const TIME_SHOWN = 'yyyy-mm-dd hh:mm:ss'.length;

/** The time here, with milliseconds so that two are not the same. */
function timeName(): string {
  const now = new Date();
  const local = new Date(now.getTime() - now.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, -1).replace('T', ' ');
}
