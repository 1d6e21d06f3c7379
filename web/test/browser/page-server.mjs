// A server for pages of tests: the built package and the fixtures under their paths in the repository, pages that a test makes, and
// `/report`, where a page sends what it has found. After `/go-offline` it breaks off every request but reports. It stands on this machine's loopback address only.
import { readdir, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
/** Folders of the repository that pages may read. */
const OPEN = ['/web/dist/', '/fixtures/'];

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

/**
 * Runs `body` with a server.
 *
 * @param files texts or bytes, or functions that give them, by path (`/page.html`)
 * @param folder is served from `/`
 * @param headers sent with every answer
 */
export async function withServer({ files = {}, folder = null, headers = {} }, body) {
  const reports = [];
  let wake = () => undefined;
  const requests = [];
  let isOffline = false;
  const server = createServer((request, response) => {
    if (isOffline && request.url !== '/report') return void request.socket.destroy();
    isOffline ||= request.url === '/go-offline';
    void answer(request).then(({ status, type, content }) => {
      response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store', ...headers });
      response.end(content);
    });
  });

  async function answer(request) {
    const { pathname, search } = new URL(request.url, 'http://localhost');
    const path = decodeURIComponent(pathname);
    requests.push(path);
    if (path === '/go-offline') return { status: 204, type: 'text/plain', content: '' };
    if (path === '/report') {
      const parts = [];
      for await (const part of request) parts.push(part);
      reports.push(JSON.parse(Buffer.concat(parts).toString()));
      wake();
      return { status: 204, type: 'text/plain', content: '' };
    }
    if (files[path] !== undefined) {
      const content = typeof files[path] === 'function' ? await files[path]() : files[path];
      return { status: 200, type: TYPES[extname(path)] ?? 'text/plain', content };
    }
    const file = OPEN.some((open) => path.startsWith(open)) ? join(root, path) : folder === null ? null : join(folder, path);
    try {
      if (file === null || path.includes('..')) throw new Error('not served');
      if (search === '?list') {
        const entries = await readdir(file, { withFileTypes: true });
        const names = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name));
        return { status: 200, type: TYPES['.json'], content: JSON.stringify(names) };
      }
      const target = (await stat(file)).isDirectory() ? join(file, 'index.html') : file;
      return { status: 200, type: TYPES[extname(target)] ?? 'application/octet-stream', content: await readFile(target) };
    } catch {
      return { status: 404, type: 'text/plain', content: 'not found' };
    }
  }

  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await body({
      address: `http://127.0.0.1:${server.address().port}`,
      /** The paths that were asked for so far. */
      requests,
      /** The next report. */
      async report() {
        while (reports.length === 0) await new Promise((resolve) => (wake = resolve));
        return reports.shift();
      },
    });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}
