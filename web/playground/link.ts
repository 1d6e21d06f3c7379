/** Programs in links: compressed, in the part of the address that browsers do not send to a server. */

import type { Cu } from 'cu-wasm';

const MARK = '#code=';
const PROGRAM_BYTES_MAX = 1024 * 1024;
/** Some mail and chat programs cut longer addresses. */
export const LINK_CHARACTERS_SAFE = 8000;

/** The fragment that stands for a program. */
export async function toFragment(cu: Cu, program: string): Promise<string> {
  const bytes = await cu.compressData(program);
  const characters = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  return MARK + btoa(characters).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** The program of a fragment, null when it is none of ours. Throws when it is damaged. */
export async function fromFragment(cu: Cu, fragment: string): Promise<string | null> {
  if (!fragment.startsWith(MARK)) return null;
  try {
    const characters = atob(fragment.slice(MARK.length).replaceAll('-', '+').replaceAll('_', '/'));
    const bytes = Uint8Array.from(characters, (character) => character.charCodeAt(0));
    const program = await cu.decompressData(bytes, PROGRAM_BYTES_MAX);
    return new TextDecoder('utf-8', { fatal: true }).decode(program);
  } catch {
    throw new Error('The link is damaged: there is no program in it.');
  }
}
