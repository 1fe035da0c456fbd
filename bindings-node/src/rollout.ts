/** How a service is shipped and judged. What is wrong with it is found when a run is started. */

import type {
  BlueGreenOptions,
  CanaryOptions,
  CommandProbeOptions,
  HttpOptions,
  Judge,
  JudgeOptions,
  Probe,
  Rollout,
} from './options.js'

/** Traffic goes over in steps, with a bake after each. */
export function canary(service: string, options: CanaryOptions): Rollout {
  const { steps, bake, ...rest } = options
  return { service, strategy: { kind: 'canary', steps, bake }, ...rest }
}

/**
 * The new version comes up in full beside the old one and gets all traffic at once. The old one then gets no requests to
 * compare with: only the absolute form of a judge, and its blackout guard, have a say.
 */
export function blueGreen(service: string, options: BlueGreenOptions): Rollout {
  const { bake, ...rest } = options
  return { service, strategy: { kind: 'blue_green', ...(bake === undefined ? {} : { bake }) }, ...rest }
}

/**
 * The sequential judge of error rates: however often it looks, the chance that it ever condemns a release which is no
 * worse is at most `alpha`. `sequential()` has a default for everything.
 */
export function sequential(options: JudgeOptions = {}): Judge {
  return { ...options }
}

/** An HTTP GET that passes on a status of 200 to 399. In a service's check, `{host}` and `{port}` stand for its address. */
export function http(url: string, options: HttpOptions = {}): Probe {
  return { kind: 'http', url, ...options }
}

/** A TCP connection that passes when it is accepted. */
export function tcp(address: string): Probe {
  return { kind: 'tcp', address }
}

/** A program that passes with exit code 0; no shell. */
export function command(argv: readonly string[], options: CommandProbeOptions = {}): Probe {
  return { kind: 'command', argv: [...argv], ...options }
}
