/** A secret of the engine's, by name. */
export class Secret {
  /** The name under which `Engine.open` was given it. Only this is recorded. */
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

/** A secret of the engine's, by name, for a command's `env`: `Engine.open(path, { secrets: { token: … } })`. */
export function secret(name: string): Secret {
  return new Secret(name)
}
