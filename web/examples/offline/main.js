// A page that counts its visits with a saved Lua function, and goes on doing so without a network.
import { Cu } from '../cu-wasm/index.js';

const cu = await Cu.open({ name: 'offline-example' });
if ((await cu.getValue('app', 'count')) === null) {
  await cu.persistFunction('app', 'count', 'local visits = 0; return function() visits = visits + 1; return visits end');
}
document.querySelector('#visits').value = String(await cu.callFunction('app', 'count'));

if ('serviceWorker' in navigator) {
  await navigator.serviceWorker.register('service-worker.js');
  const { active } = await navigator.serviceWorker.ready;
  // What this page was made of, the wasm files included, is what it needs next time.
  const loaded = performance.getEntriesByType('resource').map(({ name }) => name);
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data }) => (document.querySelector('#state').textContent = data);
  active.postMessage([location.href, ...loaded], [port2]);
}
