/**
 * The one place where names change their case: options are written in camel case here and in snake case in the core,
 * and so is what comes back. The names of users' own things (variables, steps, versions) and their values stay as they
 * are.
 */

import { fields } from './spec.js'

/** A length of time: `"1h30m"`, `"2m"`, `"1.5s"`, `"250ms"`; or a number of milliseconds. */
export type Duration = string | number

/** Which fields hold what, by type: see `fields` in `spec.ts`, `holds` in `events.ts`. */
export type Table = Readonly<Record<string, Readonly<Record<string, string>>>>

/** `snake_case` of a name in camel case. */
export type Snake<S extends string> = S extends `${infer First}${infer Rest}`
  ? First extends Lowercase<First>
    ? `${First}${Snake<Rest>}`
    : `_${Lowercase<First>}${Snake<Rest>}`
  : S

/** Options as the core reads them. Names that it doesn't know go along, so that it can say so. */
export function toSpec<T>(type: keyof typeof fields, options: object): T {
  return convert(type, options, fields, snake, { SpanText: duration }) as T
}

/** What the core wrote, with names in camel case and times as dates. */
export function fromCore<T>(type: string, value: object, table: Table = fields): T {
  return convert(type, value, table, camel, { Time: (at) => new Date(at as number | string) }) as T
}

/** A duration as the core reads it. A number that is none goes along as text, so that the core names its place. */
export function duration(value: unknown): unknown {
  return typeof value === 'number' ? `${value}ms` : value
}

function convert(
  type: string,
  value: unknown,
  table: Table,
  rename: (name: string) => string,
  /** What becomes of values that are no objects, by type. */
  plain: Readonly<Record<string, (value: unknown) => unknown>>,
): unknown {
  if (Array.isArray(value)) {
    return value.map((item) => convert(type, item, table, rename, plain))
  }
  if (value === null) {
    return value
  }
  if (plain[type] !== undefined) {
    return plain[type](value)
  }
  if (typeof value !== 'object') {
    return value
  }
  // The kinds of a union may have fields of one name and different types.
  const known = table[type] ?? table[`${type}:${String((value as { kind?: unknown }).kind)}`] ?? {}
  const result: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(value)) {
    if (field === undefined) {
      continue
    }
    const renamed = rename(name)
    // The table has the core's names, whichever way it goes.
    const holds = known[rename === snake ? renamed : name]
    if (holds === undefined) {
      result[renamed] = field
    } else if (holds.endsWith('*')) {
      result[renamed] = each(field, (item) => convert(holds.slice(0, -1), item, table, rename, plain))
    } else {
      result[renamed] = convert(holds, field, table, rename, plain)
    }
  }
  return result
}

function each(value: unknown, change: (item: unknown) => unknown): unknown {
  if (typeof value !== 'object' || value === null) {
    return value
  }
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, change(item)]))
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}
