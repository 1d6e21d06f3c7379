/**
 * Migrations: numbered steps that bring the data from one version to the next, all in one transaction. A step that fails, and a page that is closed
 * in the middle, leave the old version with the old data.
 */

import { throwIfAborted } from './abort.js';
import { EnhancedLuaError, UsageError } from './errors.js';
import type { WorkOptions } from './long-work.js';

/** One step: a function that changes things by calls of the instance it is given, or a Lua program that does so by `ext`. */
export type MigrationStep<Instance> = ((instance: Instance) => unknown) | string;

/** Steps by the version that they lead to. */
export type MigrationSteps<Instance> = Readonly<Record<number, MigrationStep<Instance>>>;

/** What an instance needs for it. */
export interface Migrating {
  beginMigration(version: number): Promise<number>;
  commitTransaction(): Promise<true>;
  rollbackTransaction(): Promise<true>;
  run(source: string, options: { chunkName: string; signal?: AbortSignal | undefined }): Promise<unknown>;
}

/** Times that the steps are run when other tabs are faster each time. */
const ATTEMPTS_MAX = 10;

/** The version that the data came from. */
export async function migrate<Instance extends Migrating>(
  instance: Instance,
  version: number,
  steps: MigrationSteps<Instance>,
  { signal, onProgress }: WorkOptions,
): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(signal);
    const found = await instance.beginMigration(version);
    if (found === version) return found;
    try {
      const path = stepsBetween(found, version, steps);
      for (const [position, step] of path.entries()) {
        throwIfAborted(signal);
        if (typeof step === 'string') await instance.run(step, { chunkName: `migration ${found + position + 1}`, signal });
        else await step(instance);
        onProgress?.({ done: position + 1, total: path.length });
      }
      throwIfAborted(signal);
    } catch (error) {
      await instance.rollbackTransaction().catch(() => undefined);
      throw error;
    }
    try {
      await instance.commitTransaction();
      return found;
    } catch (error) {
      const wasBehind = error instanceof EnhancedLuaError && error.code === 'conflict';
      if (!wasBehind || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}

function stepsBetween<Instance>(found: number, version: number, steps: MigrationSteps<Instance>): MigrationStep<Instance>[] {
  const path: MigrationStep<Instance>[] = [];
  for (let number = found + 1; number <= version; number++) {
    const step = Object.hasOwn(steps, number) ? steps[number] : undefined;
    if (typeof step !== 'function' && typeof step !== 'string') {
      throw new UsageError('INVALID_INPUT', `steps: the data has version ${found}, and there is no step to version ${number}`);
    }
    path.push(step);
  }
  return path;
}
