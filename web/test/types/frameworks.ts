/** What components may write with the hook, the composable and the store. Checked by the compiler, never run. */

import { shallowRef } from 'vue';
import { Cu } from 'cu-wasm';
import { useLiveQuery as useInReact } from 'cu-wasm/react';
import { liveQuery } from 'cu-wasm/svelte';
import { useLiveQuery as useInVue } from 'cu-wasm/vue';
import { Cu as InWorker } from 'cu-wasm/worker';

interface User {
  name: string;
}

export function accepted(cu: Cu, remote: InWorker): string {
  const { rows, error } = useInReact<User>(cu, 'users', { field: 'age', operator: '>', value: 1 });
  const shown = useInVue<User>(shallowRef<InWorker | null>(remote), () => 'users', shallowRef({ limit: 3 }));
  const end = liveQuery<User>(remote, 'users').subscribe(({ entries }) => void entries[0]?.value.name);
  end();
  return rows.map(({ name }) => name).join() + (error?.code ?? '') + shown.rows.value.map(({ name }) => name).join();
}

export function refused(cu: Cu): void {
  // @ts-expect-error there is no such operator
  useInReact(cu, 'users', { field: 'age', operator: '~', value: 1 });
}
