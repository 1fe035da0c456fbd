/** Errors: what happened, where, and what to do about it. */

/** What a caller can do about an error. */
export type Kind =
  /** What was asked for can't be; `faults` lists everything that is wrong. */
  | 'invalid'
  /** There is no such run, step, service or file. */
  | 'not_found'
  /** It contradicts what is recorded: another definition, other params, another rollout of the service. */
  | 'conflict'
  /** Somebody else holds it: the journal is driven by another process. */
  | 'busy'
  /** The journal is damaged or was changed from outside. */
  | 'corrupt'
  /** The operating system refused. */
  | 'io'
  /** A step, rollout or callback failed. */
  | 'failed'
  /** It was cancelled. */
  | 'cancelled'
  /** The run stopped and asks: see `Run.resolve`. */
  | 'needs_answer'
  /** Not on this platform, or not by this version. */
  | 'unsupported'
  /** A fault of tidegate itself. */
  | 'internal'

/** One thing that is wrong with a definition. */
export interface Fault {
  /** JSON pointer into the definition as the core has it, such as `/steps/2/after/0`. */
  readonly pointer: string
  /** What is wrong and what was expected. */
  readonly message: string
}

/** What an error of the core says, as the native part hands it over. */
interface Told {
  readonly kind: Kind
  readonly message: string
  readonly context: Readonly<Record<string, string>>
  readonly help: string | null
  readonly retryable: boolean
  readonly faults: readonly Fault[]
}

/** Everything that this package throws of its own. Branch on `kind`; show `message` to people. */
export class TidegateError extends Error {
  override readonly name = 'TidegateError'
  /** What a caller can do about it. */
  readonly kind: Kind
  /** The kind as Node's own errors write it: `TIDEGATE_BUSY`. */
  readonly code: `TIDEGATE_${Uppercase<Kind>}`
  /** Where it happened, such as `{ step: 'build' }`. */
  readonly context: Readonly<Record<string, string>>
  /** What the reader can do, if anything is known. */
  readonly help: string | undefined
  /** Whether the same call may go through later. */
  readonly retryable: boolean
  /** Everything that is wrong with a definition, for `invalid`. */
  readonly faults: readonly Fault[]

  constructor(
    kind: Kind,
    message: string,
    more: {
      context?: Readonly<Record<string, string>>
      help?: string
      retryable?: boolean
      faults?: readonly Fault[]
      cause?: unknown
    } = {},
  ) {
    super(message, 'cause' in more ? { cause: more.cause } : undefined)
    this.kind = kind
    this.code = `TIDEGATE_${kind.toUpperCase() as Uppercase<Kind>}`
    this.context = more.context ?? {}
    this.help = more.help
    this.retryable = more.retryable ?? false
    this.faults = more.faults ?? []
  }
}

/**
 * An error that another attempt would only repeat: thrown by a step's function, it fails the step at once, whatever the
 * step's `retry`.
 */
export class PermanentError extends Error {
  override readonly name = 'PermanentError'
}

/** The error that the native part handed over as JSON text. Its stack is that of the call. */
export function errorFrom(text: string): TidegateError {
  const told = JSON.parse(text) as Told
  const { kind, message, context, retryable, faults } = told
  const error = new TidegateError(kind, message, {
    context,
    retryable,
    faults,
    ...(told.help === null ? {} : { help: told.help }),
  })
  Error.captureStackTrace(error, errorFrom)
  return error
}
