/** What a journal holds: runs and their events, services, and what a check of it found. */

import { fromCore } from './convert.js'
import { holds, type RunEvent } from './events.js'
import type { Release } from './spec.js'

/** A run in the journal. */
export interface RunRow {
  /** The run's id. */
  readonly id: string
  /** The pipeline's name. */
  readonly pipeline: string
  /** The run's key. */
  readonly key: string
  /** When it was started. */
  readonly started: Date
  /** Its status for people, such as `running`. */
  readonly status: string
  /** Whether nothing more will happen. */
  readonly finished: boolean
}

/** What is known of a service. */
export interface ServiceState {
  /** The service's name. */
  readonly name: string
  /** The version that counts as good; `null` before the first release. */
  readonly stable: string | null
  /** Versions that were stable before and can be reverted to, the latest first. */
  readonly kept: readonly string[]
  /** What is needed to start each version that is known. */
  readonly versions: Readonly<Record<string, Release>>
  /** Processes by version, as last asked for. */
  readonly sizes: Readonly<Record<string, number>>
  /** Percent of the traffic by version, as last asked for. */
  readonly weights: Readonly<Record<string, number>>
  /** The rollout that holds the service. */
  readonly claim: { readonly run: string; readonly step: string; readonly version: string } | null
  /** What was lost of the world and has not been seen whole since. */
  readonly lost: string | null
  /** How the last rollout ended: the version that it shipped, how it ended, and why, in one sentence. */
  readonly last: { readonly version: string; readonly outcome: string; readonly reason: string } | null
}

/** What a check of the whole journal found. */
export interface Verified {
  /** Streams that were checked. */
  readonly streams: number
  /** Events that were checked. */
  readonly events: number
  /** Commits that were checked. */
  readonly commits: number
  /** What is wrong; empty when nothing is. */
  readonly damages: readonly {
    readonly kind: string
    readonly stream: string | null
    readonly seq: number | null
    readonly detail: string
  }[]
  /** How much more is wrong than is listed. */
  readonly unlisted: number
  /** Whether nothing is wrong. */
  readonly isSound: boolean
}

/** Runs as the native part hands them over. */
export function runsFrom(text: string): RunRow[] {
  const rows = JSON.parse(text) as {
    stream: string
    index: { pipeline: string; key: string; started: number; status: string; finished: boolean }
  }[]
  return rows.map(({ stream, index }) => ({
    id: stream.replace(/^run\//, ''),
    ...index,
    started: new Date(index.started),
  }))
}

/** An event as the native part hands it over. */
export function eventFrom(text: string): RunEvent {
  return fromCore<RunEvent>('Fact', JSON.parse(text) as object, holds)
}

/** What a check found as the native part hands it over. */
export function verifiedFrom(text: string): Verified {
  const found = JSON.parse(text) as Omit<Verified, 'isSound'>
  return { ...found, isSound: found.damages.length === 0 }
}

/** Where the core's words are others. */
interface Told {
  readonly versions: Record<string, { readonly release: Release }>
  readonly weights: Record<string, number>
  readonly sizes: Record<string, number>
}

/** A service as the native part hands it over. */
export function serviceFrom(text: string): ServiceState | null {
  const told = JSON.parse(text) as (Omit<ServiceState, 'versions'> & Told) | null
  if (told === null) {
    return null
  }
  const { name, stable, kept, versions, sizes, weights, claim, lost, last } = told
  const each = <T, U>(of: Record<string, T>, change: (item: T) => U): Record<string, U> =>
    Object.fromEntries(Object.entries(of).map(([version, item]) => [version, change(item)]))
  return {
    name,
    stable,
    kept,
    versions: each(versions, ({ release }) => release),
    sizes,
    // The core counts in hundredths of a percent.
    weights: each(weights, (share) => share / 100),
    claim,
    lost,
    last,
  }
}
