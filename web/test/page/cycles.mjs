// Opens and closes instances one after the other, each of which does a little of everything, and reports now and then how much memory
// JavaScript has in use after a collection. The server answers a report when it has looked at the processes' memory.
const search = new URLSearchParams(location.search);
const cycles = Number(search.get('cycles'));
const { Cu } = await import(`/web/dist/${search.get('entry')}.js`);

async function cycle(n) {
  const cu = await Cu.open({ name: `cycles-${n % 3}`, storage: 'indexeddb', home: n % 2 === 0, functions: { later: async (x) => x } });
  await cu.setValue('t', n % 50, { n });
  const subscription = await cu.subscribe('t', { field: 'n', operator: '>=', value: 0 }, () => undefined);
  const { values } = await cu.run('local t = {} for i = 1, 2000 do t[i] = { i } end return later(#t) + ...', { args: [n] });
  if (values[0] !== 2000 + n) throw new Error(`cycle ${n} gave ${values[0]}`);
  await cu.run('error("no")').catch(() => undefined);
  await cu.close();
  await subscription.ended;
}

const report = (body) => fetch('/report', { method: 'POST', body: JSON.stringify(body) });
try {
  for (let done = 1; done <= cycles; done++) {
    await cycle(done);
    if (done % (cycles / 5) !== 0) continue;
    // Two collections: what the first one finalizes, the second one frees.
    for (let round = 0; round < 2; round++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await report({ done, heap: performance.memory.usedJSHeapSize });
    await fetch('/measured');
  }
} catch (error) {
  await report({ error: String(error.stack ?? error) });
}
