// What the tests share: a folder that goes with the test, child programs, and waiting with a bound.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Engine } from '../dist/index.js'

const root = join(import.meta.dirname, '..')

/** How long anything may take on a machine that is busy with other things. */
export const PATIENCE = 60_000

/** A folder of the test's own. */
export function folder(t) {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-test-'))
  t.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }))
  return dir
}

/** An engine over a journal in a folder of its own, closed after the test. */
export async function engine(t, options = {}) {
  const dir = folder(t)
  const opened = await Engine.open(join(dir, 'journal.db'), { durability: 'relaxed', ...options })
  t.after(() => opened.close())
  return { engine: opened, dir, path: join(dir, 'journal.db') }
}

/** Starts a program of `test/programs`; killed after the test if it still runs. */
export function program(t, name, ...args) {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'programs', name), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (errors += text))
  const closed = once(child, 'close')
  t.after(async () => {
    child.kill('SIGKILL')
    await closed
  })
  return {
    child,
    /** Waits for its end: the exit code or the signal, and what it wrote. */
    async ended() {
      const [code, signal] = await within(closed, `the end of ${name}: ${output}${errors}`)
      return { code, signal, output, errors }
    },
    /** Waits until it has written a text. */
    async wrote(text) {
      await until(() => output.includes(text), () => `${name} to write ${text}: ${output}${errors}`)
    },
  }
}

/** Waits for a promise, with a bound. */
export async function within(promise, what) {
  const late = new AbortController()
  const timer = sleep(PATIENCE, undefined, { signal: late.signal }).then(() => {
    throw new Error(`waited too long for ${typeof what === 'function' ? what() : what}`)
  })
  try {
    return await Promise.race([promise, timer])
  } finally {
    late.abort()
    timer.catch(() => undefined)
  }
}

/** Waits until something holds. */
export async function until(holds, what) {
  await within(
    (async () => {
      while (!(await holds())) {
        await sleep(10)
      }
    })(),
    what,
  )
}

/** The lines of a file; none when there is no such file. */
export function lines(path) {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : []
}

/** The events of a run, until its end. */
export async function all(run) {
  const events = []
  for await (const event of run) {
    events.push(event)
  }
  return events
}

/** The errors of a program, as the file would be compiled by somebody who has installed the package. */
export function tsc(compiler, text) {
  mkdirSync(join(root, 'dist', 'types'), { recursive: true })
  const folder = mkdtempSync(join(root, 'dist', 'types', 'x-'))
  writeFileSync(join(folder, 'program.ts'), text)
  const options = { strict: true, noEmit: true, module: 'nodenext', moduleResolution: 'nodenext', target: 'es2022' }
  const config = { compilerOptions: { ...options, types: ['node'], skipLibCheck: false }, files: ['program.ts'] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  return new Promise((done) => {
    const bin = join(root, 'node_modules', compiler, 'bin', 'tsc')
    execFile(process.execPath, [bin, '-p', folder, '--pretty', 'false'], (_, stdout) => {
      rmSync(folder, { recursive: true })
      done(stdout.split('\n').filter((line) => line.includes('error TS')))
    })
  })
}
