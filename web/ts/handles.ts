/**
 * Live handles: Lua tables and functions that stay in Lua, and are used from here without being copied; and coroutines as iterators.
 *
 * The values are kept by a Lua function ({@link KEEPER}), by number, until they are released. It is one of the live functions of the instance, under a name that no
 * saved function can have, so an image has none of it, and a restored state begins without handles. What is done with a handle is a run
 * like any other: it takes its turn, and its fuel.
 */

import { throwIfAborted } from './abort.js';
import { encode, type LuaValue } from './codec.js';
import { LuaError, UsageError } from './errors.js';
import { utf8, type RunCodes, type RunOptions, type Vm } from './vm.js';

/** The keeper's table and name among the live functions. Saved functions have a table whose name is not empty. */
const KEEPER_TABLE = '';
const KEEPER_NAME = 'handles';
const CODES: RunCodes = { syntax: 'EVAL_FAILED', runtime: 'LUA_EXECUTION_ERROR' };

/**
 * Values by number, and what can be done with them. `places` are positions among the arguments with numbers of values that belong there. What stands for
 * a value that stays here is its type and its number; the number is missing for one that can be copied.
 */
const KEEPER = `
local create, resume, close, status = coroutine.create, coroutine.resume, coroutine.close, coroutine.status
local pack, unpack, type, error, load, rawequal = table.pack, table.unpack, type, error, load, rawequal
local traceback = debug and debug.traceback
local globals = _G
local kept, count, trace = {}, 0, nil
local stays = { table = true, ['function'] = true, thread = true, userdata = true }

local function keep(value)
  local kind = type(value)
  if not stays[kind] then return kind end
  count = count + 1
  kept[count] = value
  return kind, count
end

local function arguments(places, ...)
  if #places == 0 then return ... end
  local list = pack(...)
  for at = 1, #places, 2 do list[places[at]] = kept[places[at + 1]] end
  return unpack(list, 1, list.n)
end

local does = {}

function does.run(places, name, source, ...)
  local chunk = load(source, name, 't')
  if not chunk then return false end
  return keep((chunk(arguments(places, ...))))
end

function does.call(places, number, ...)
  return kept[number](arguments(places, ...))
end

function does.get(places, number, key)
  return kept[number][key]
end

function does.at(places, number, key)
  return keep(kept[number][key])
end

function does.set(places, number, key, ...)
  kept[number][key] = arguments(places, ...)
end

function does.copy(places, number)
  return kept[number]
end

function does.same(places, number, other)
  return rawequal(kept[number], kept[other])
end

function does.assign(places, number, name)
  globals[name] = kept[number]
end

function does.begin(places, name, source)
  local value
  if name then value = load(source, name, 't') else value = kept[source] end
  if not value then return false end
  if type(value) == 'table' or type(value) == 'userdata' then
    local object = value
    value = function(...) return object(...) end
  end
  return keep(type(value) == 'thread' and value or create(value))
end

function does.step(places, number, ...)
  local thread = kept[number]
  local passed, value = resume(thread, arguments(places, ...))
  if passed then return status(thread) == 'dead', value end
  trace = traceback and traceback(thread) or ''
  error(value, 0)
end

function does.close(places, number)
  local thread = kept[number]
  kept[number] = nil
  local passed, value = close(thread)
  if not passed then error(value, 0) end
end

function does.trace()
  local told = trace
  trace = nil
  return told
end

function does.release(places, number)
  kept[number] = nil
end

return function(what, places, ...) return does[what](places, ...) end`;

/** Numbers of values with their places among arguments: position and number by turns, positions from 1 on. */
export type Places = readonly number[];
/** What the keeper is asked to do: the operation, and its arguments, among which values that stay in Lua have `places`. */
export type Request = readonly [operation: string, places: Places, ...args: unknown[]];
export type HandleType = 'table' | 'function' | 'thread' | 'userdata';

/** Whoever has the values: an instance, or the page's side of a worker that has it. */
export interface Keeper {
  /** Does what is asked for when it is its turn: the values that come of it. */
  use(request: Request, options?: RunOptions): Promise<LuaValue[]>;
  /** Lets go of a value. */
  release(number: number): Promise<void>;
}

/** Tells the keeper of handles that nobody has any more. */
const lost =
  typeof FinalizationRegistry === 'function'
    ? new FinalizationRegistry<{ keeper: WeakRef<Keeper>; number: number }>(({ keeper, number }) => release(keeper.deref(), number))
    : null;

function release(keeper: Keeper | undefined, number: number): void {
  // A closed or poisoned instance has let go of all.
  keeper?.release(number).catch(() => undefined);
}

/** A Lua table, function, coroutine or userdata that stays in Lua. Made by `cu.handle` and {@link LuaHandle.at}. */
export class LuaHandle {
  /** What kind of value it is. */
  readonly type: HandleType;
  private readonly keeper: Keeper;
  private readonly number: number;
  private isReleased = false;

  /** @internal */
  constructor(keeper: Keeper, type: HandleType, number: number) {
    this.keeper = keeper;
    this.type = type;
    this.number = number;
    lost?.register(this, { keeper: new WeakRef(keeper), number }, this);
  }

  /** Whether it was released. */
  get released(): boolean {
    return this.isReleased;
  }

  /** Calls it and gives the first value, null when there is none. Arguments are copied, but handles among them stand for their values. */
  async call(...args: unknown[]): Promise<LuaValue> {
    const { places, plain } = takeHandles(this.keeper, args);
    return this.first('call', places, ...plain);
  }

  /** A copy of the value of a field, as `value[key]` in Lua gives it. */
  async get(key: unknown): Promise<LuaValue> {
    return this.first('get', [], key);
  }

  /** A handle to the value of a field. Fails with `INVALID_INPUT` when it is none that stays in Lua. */
  async at(key: unknown): Promise<LuaHandle> {
    return made(this.keeper, await this.use('at', [], key), 'the field has');
  }

  /** Sets a field, as `value[key] = …` in Lua does, to a copy, or to the value that a handle stands for. */
  async set(key: unknown, value: unknown): Promise<void> {
    const { places, plain } = takeHandles(this.keeper, [value]);
    await this.use('set', places, key, ...plain);
  }

  /** A copy, in one crossing. */
  async toJS(): Promise<LuaValue> {
    return this.first('copy', []);
  }

  /** Whether both stand for the same value. */
  async is(other: LuaHandle): Promise<boolean> {
    if (!(other instanceof LuaHandle) || other.keeper !== this.keeper) return false;
    other.check();
    return (await this.first('same', [], other.number)) === true;
  }

  /** Lets go of the value; calls after it reject with `released`. Those that are under way go on. */
  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    lost?.unregister(this);
    release(this.keeper, this.number);
  }

  /** @internal The number by which its keeper knows it. */
  numberFor(keeper: Keeper): number {
    if (keeper !== this.keeper) throw new UsageError('INVALID_INPUT', 'the handle is of another instance');
    this.check();
    return this.number;
  }

  private async first(operation: string, places: Places, ...args: unknown[]): Promise<LuaValue> {
    const [value = null] = await this.use(operation, places, ...args);
    return value;
  }

  private use(operation: string, places: Places, ...args: unknown[]): Promise<LuaValue[]> {
    this.check();
    return this.keeper.use([operation, places, this.number, ...args]);
  }

  private check(): void {
    if (this.isReleased) throw new UsageError('released', 'this handle was released');
  }
}

/** Arguments without the handles among them, and the places of those. */
export function takeHandles(keeper: Keeper, args: readonly unknown[]): { places: Places; plain: unknown[] } {
  const places: number[] = [];
  const plain = args.map((arg, index) => {
    if (!(arg instanceof LuaHandle)) return arg;
    places.push(index + 1, arg.numberFor(keeper));
    // There is one argument as before, so that none behind it moves.
    return false;
  });
  return { places, plain };
}

/** A handle to what the keeper has kept. */
function made(keeper: Keeper, [kind, number]: LuaValue[], where: string): LuaHandle {
  if (typeof number !== 'number') throw new UsageError('INVALID_INPUT', `${where} a ${String(kind)} value, which has no handle: it is copied`);
  return new LuaHandle(keeper, kind as HandleType, number);
}

/** What a program is run with. */
export interface SourceOptions extends RunOptions {
  args?: readonly unknown[] | undefined;
  chunkName?: string | undefined;
}

/** Sets a global variable to the value that a handle stands for. */
export async function assignHandle(keeper: Keeper, name: string, handle: LuaHandle, sandbox: string | undefined): Promise<void> {
  refuseSandbox({ sandbox });
  await keeper.use(['assign', [], handle.numberFor(keeper), name]);
}

/** Runs a program: a handle to the first value it returns. */
export async function handleOf(keeper: Keeper, source: string | Uint8Array, options: SourceOptions): Promise<LuaHandle> {
  const { args = [], chunkName = 'script', ...run } = options;
  refuseSandbox(run);
  const { places, plain } = takeHandles(keeper, args);
  return made(keeper, await keeper.use(['run', places, `@${chunkName}`, lua(source), ...plain], run), 'the program gives');
}

/** The values that a coroutine yields: of a program, or of the function or coroutine that a handle stands for. */
export async function* iterate(keeper: Keeper, source: string | Uint8Array | LuaHandle, options: SourceOptions): AsyncGenerator<LuaValue, LuaValue, unknown> {
  const { args = [], chunkName = 'script', ...run } = options;
  refuseSandbox(run);
  const what = source instanceof LuaHandle ? [null, source.numberFor(keeper)] : [`@${chunkName}`, lua(source)];
  const coroutine = made(keeper, await keeper.use(['begin', [], ...what], run), 'it is');
  const number = coroutine.numberFor(keeper);
  // What ends the steps has no say in how the coroutine is closed.
  const closing = { ...run, signal: undefined };
  const close = (): Promise<unknown> => keeper.use(['close', [], number], closing).finally(() => coroutine.release());
  let isOver = false;
  const step = async (given: readonly unknown[]): Promise<LuaValue[]> => {
    try {
      const { places, plain } = takeHandles(keeper, given);
      return await keeper.use(['step', places, number, ...plain], run);
    } catch (error) {
      isOver = true;
      const told = await traced(keeper, error);
      // A coroutine that has failed has its to-be-closed variables still; the failure stays the one that is thrown.
      await close().catch(() => undefined);
      throw told;
    }
  };
  try {
    for (let given = args; ; ) {
      const [isDead, value = null] = await step(given);
      if (isDead === true) {
        isOver = true;
        coroutine.release();
        return value;
      }
      given = [yield value];
    }
  } finally {
    if (!isOver) await close();
  }
}

/** The same error with the stack of the coroutine in which it was raised. */
async function traced(keeper: Keeper, error: unknown): Promise<unknown> {
  if (!(error instanceof LuaError)) return error;
  const [traceback] = await keeper.use(['trace', []]).catch(() => [null]);
  if (typeof traceback !== 'string') return error;
  const { code, message, value, chunk, line, originalError, details } = error;
  return new LuaError(code, message, { value, traceback, chunk, line }, { originalError, details });
}

function refuseSandbox({ sandbox }: RunOptions): void {
  if (sandbox !== undefined) throw new UsageError('INVALID_INPUT', 'options.sandbox: handles are to values of the instance itself');
}

/** The program as `load` takes it: a first line that begins with `#` is empty. */
function lua(source: string | Uint8Array): string | Uint8Array {
  if (typeof source === 'string') return source.replace(/^#.*/, '');
  if (source[0] !== 0x23) return source;
  const end = source.indexOf(0x0a);
  return source.subarray(end === -1 ? source.length : end);
}

/** The keeper of one VM. */
export class Handles implements Keeper {
  private isThere = false;

  constructor(private readonly vm: Vm) {}

  /** Does what is asked for when it is its turn: the values. */
  use(request: Request, options: RunOptions = {}): Promise<LuaValue[]> {
    const encoded = encode([...request]);
    return this.vm.exclusive(async () => {
      throwIfAborted(options.signal);
      await this.begin();
      const { values } = await this.vm.run((instance) => instance.startCall(KEEPER_TABLE, KEEPER_NAME, encoded), CODES, options);
      if (values[0] === false && isProgram(request)) await this.explain(request, options);
      return values;
    });
  }

  /** Lets go of a value. */
  async release(number: number): Promise<void> {
    if (!this.isThere) return;
    const encoded = encode(['release', [], number]);
    await this.vm.exclusive(() => this.vm.callLiveSync(KEEPER_TABLE, KEEPER_NAME, encoded, CODES));
  }

  /** Makes the function that keeps values. */
  private async begin(): Promise<void> {
    if (this.isThere) return;
    const options = { fuel: Infinity, timeLimit: Infinity };
    await this.vm.run((instance) => instance.startDefine(KEEPER_TABLE, KEEPER_NAME, utf8(KEEPER)), CODES, options);
    this.isThere = true;
  }

  /** Says why a program does not compile, by running it. */
  private async explain([, , name, source]: Request, options: RunOptions): Promise<never> {
    const bytes = typeof source === 'string' ? utf8(source) : (source as Uint8Array);
    await this.vm.run((instance) => instance.start(bytes, name as string, encode([])), CODES, options);
    throw new UsageError('INVALID_INPUT', 'source: a program in text is needed');
  }
}

function isProgram([operation]: Request): boolean {
  return operation === 'run' || operation === 'begin';
}
