// Keeps what the page tells it to keep, and answers with that when the network does not.
const KEPT = 'cu-offline-1';

addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

addEventListener('message', (event) => {
  const keep = async () => {
    const cache = await caches.open(KEPT);
    await cache.addAll(event.data);
    event.ports[0].postMessage('kept for offline use');
  };
  event.waitUntil(keep().catch((error) => event.ports[0].postMessage(`not kept: ${error.message}`)));
});

addEventListener('fetch', (event) => {
  if (event.request.method !== 'GET') return;
  const answer = async () => {
    try {
      return await fetch(event.request);
    } catch (error) {
      const kept = await caches.match(event.request);
      if (kept === undefined) throw error;
      return kept;
    }
  };
  event.respondWith(answer());
});
