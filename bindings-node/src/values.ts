/** Values that last: what steps return and runs are given, as JSON that every language reads back as it was. */

import { types } from 'node:util'

/** Deeper values are refused by the core; the limit here is for values that hold themselves. */
const MAX_DEPTH = 110

/** A value that can't be stored, and where within it. */
export class ValueError extends TypeError {
  override readonly name = 'ValueError'
}

/** `T` as it comes back from the journal: what has a `toJSON` is what that gave. */
export type Stored<T> = unknown extends T
  ? T
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends { toJSON(...args: never): infer J }
      ? Stored<J>
      : T extends bigint | symbol | ((...args: never) => unknown)
        ? never
        : T extends object
          ? { [K in keyof T]: Stored<T[K]> }
          : T

/** What a function returned as it comes back from the journal: nothing is `null`. */
export type Returned<T> = unknown extends T ? T : T extends void | undefined ? null : Stored<T>

/**
 * A value as JSON text. What JSON would silently change is refused with its place: NaN and infinities, integers past
 * 2^53 - 1, text that is not Unicode, `undefined`, functions and symbols within, bigints, and objects that JSON shows
 * as empty. A value that is `undefined` itself is `null`.
 *
 * @throws ValueError
 */
export function encode(value: unknown, what: string): string {
  if (value === undefined) {
    return 'null'
  }
  return JSON.stringify(plain(value, what, '', '', 0))
}

function plain(value: unknown, what: string, at: string, key: string, depth: number): unknown {
  const refuse = (why: string): ValueError => new ValueError(`${what} ${why}${at === '' ? '' : `, at ${at}`}`)
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) {
        throw refuse(`holds text that is not Unicode: ${JSON.stringify(value.slice(0, 100))}`)
      }
      return value
    case 'boolean':
      return value
    case 'number':
      if (!Number.isFinite(value)) {
        throw refuse(`holds a number that is not finite: ${value}`)
      }
      // From 1e21 on JSON has an exponent, which says that it is no exact integer.
      if (Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21) {
        throw refuse(`holds an integer beyond 2^53 - 1: ${value} (use a string)`)
      }
      return value
    case 'object':
      break
    case 'bigint':
      throw refuse(`holds a bigint: ${value} (use a string)`)
    default:
      throw refuse(`holds what JSON leaves out: ${typeof value}`)
  }
  if (value === null) {
    return value
  }
  if (depth > MAX_DEPTH) {
    throw refuse('is nested too deep, or holds itself')
  }
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return plain(value.toJSON(key) as unknown, what, at, key, depth + 1)
  }
  const inner = (item: unknown, name: string): unknown =>
    plain(item, what, `${at}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, name, depth + 1)
  if (Array.isArray(value)) {
    return Array.from(value, (item: unknown, i) => inner(item, `${i}`))
  }
  if (types.isBoxedPrimitive(value)) {
    return plain(value.valueOf(), what, at, key, depth)
  }
  const empty = nameOfLost(value)
  if (empty !== undefined) {
    throw refuse(`holds what JSON can't show: ${empty}`)
  }
  const fields: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  for (const [name, field] of Object.entries(value)) {
    if (!name.isWellFormed()) {
      throw refuse(`has a field whose name is not Unicode: ${JSON.stringify(name)}`)
    }
    fields[name] = inner(field, name)
  }
  return fields
}

/** What an object is whose content JSON would not show. */
function nameOfLost(value: object): string | undefined {
  if (types.isMap(value) || types.isSet(value) || types.isWeakMap(value) || types.isWeakSet(value)) {
    return value.constructor.name
  }
  if (types.isPromise(value)) {
    return 'a promise (is an await missing?)'
  }
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) {
    return 'bytes (use base64)'
  }
  if (types.isNativeError(value) || types.isRegExp(value) || types.isGeneratorObject(value)) {
    return value.constructor.name
  }
  return undefined
}
