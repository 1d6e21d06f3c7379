// What the tests use of Node's file functions, for pages: the server has the files under the same addresses.

export async function readFile(url, encoding) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return encoding === undefined ? new Uint8Array(await response.arrayBuffer()) : response.text();
}

export const readdir = async (url) => (await fetch(`${url}?list`)).json();

/** A request that is waited for: whole folders are read while tests are being registered. */
function request(url) {
  const request = new XMLHttpRequest();
  request.open('GET', url, false);
  // Every byte as a character.
  request.overrideMimeType('text/plain; charset=x-user-defined');
  request.send();
  return request;
}

export const existsSync = (url) => request(url).status === 200;

export function readFileSync(url, encoding) {
  const { status, responseText } = request(url);
  if (status !== 200) throw new Error(`${url} answered ${status}`);
  const bytes = Uint8Array.from(responseText, (character) => character.charCodeAt(0) & 0xff);
  return encoding === undefined ? bytes : new TextDecoder().decode(bytes);
}

export function readdirSync(url, { withFileTypes = false } = {}) {
  const names = JSON.parse(request(`${url}?list`).responseText);
  if (!withFileTypes) return names.map((name) => name.replace(/\/$/, ''));
  return names.map((name) => ({ name: name.replace(/\/$/, ''), isDirectory: () => name.endsWith('/') }));
}
