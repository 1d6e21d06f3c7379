// The page of `cargo xtask bench storage`: hands each command to the worker of its database, and posts what came out.

const channel = `/channel/${new URLSearchParams(location.search).get('channel')}`;
const workers = new Map();

function ask(command) {
  let worker = workers.get(command.side);
  if (worker === undefined) {
    worker = new Worker('/storage-worker.js', { type: 'module' });
    workers.set(command.side, worker);
  }
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => resolve({ error: message || 'the worker has failed' });
    worker.postMessage(command);
  });
}

async function answer(command) {
  if (command.do !== 'end worker') return ask(command);
  // As a killed tab would be: nothing is closed.
  workers.get(command.side)?.terminate();
  workers.delete(command.side);
  return {};
}

for (;;) {
  const command = await (await fetch(`${channel}/command`)).json();
  if (command.do === 'end') break;
  if (command.do === 'wait') continue;
  await fetch(`${channel}/result`, { method: 'POST', body: JSON.stringify(await answer(command)) });
}
