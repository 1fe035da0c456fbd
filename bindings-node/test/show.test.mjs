// A run that is shown on standard error: on a terminal, which `script` of Debian's bsdutils lends, and in pipes.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { folder, until, within } from './help.mjs'

const source = join(import.meta.dirname, 'programs', 'show.mjs')

/** Starts a program without what a CI service has set; what it wrote so far, and its end. */
function start(t, argv, env) {
  const { GITHUB_ACTIONS, GITLAB_CI, NO_COLOR, ...kept } = process.env
  const child = spawn(argv[0], argv.slice(1), { env: { ...kept, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const wrote = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text) => (wrote.out += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (wrote.err += text))
  const closed = once(child, 'close')
  t.after(async () => {
    child.kill('SIGKILL')
    await closed
  })
  return { child, wrote, ended: () => within(closed, () => JSON.stringify(wrote)) }
}

test('on a narrow terminal what goes on stands below', { skip: process.platform !== 'linux' }, async (t) => {
  const dir = folder(t)
  const script = `stty cols 24 rows 5; '${process.execPath}' '${source}' '${dir}'`
  const { wrote, ended } = start(t, ['script', '-qfec', script, '/dev/null'], { TERM: 'xterm', NO_COLOR: '1' })
  await until(() => wrote.out.includes(' s  ::com'), () => JSON.stringify(wrote))
  writeFileSync(join(dir, 'go'), '')
  await ended()
  const frames = wrote.out.split('\x1b[?7l').slice(1).map((rest) => rest.split('\x1b[?7h')[0].split('\r\n'))
  assert.ok(frames.flat().every((line) => line.length < 24), JSON.stringify(frames))
  const end = wrote.out.slice(wrote.out.lastIndexOf('\x1b[J') + 3)
  assert.match(end, /the run failed\r\nfailed failed\r\n$/)
  assert.match(wrote.out, /count: failed.*: Error: no number\r\n {2}\| /)
  assert.doesNotMatch(wrote.out, /\x1b\[\d*m/)
})

test('in a pipe it is lines, and GitHub folds what each step wrote', async (t) => {
  const dir = folder(t)
  writeFileSync(join(dir, 'go'), '')
  const piped = start(t, [process.execPath, source, dir], { TERM: 'xterm' })
  assert.deepEqual(await piped.ended(), [0, null])
  assert.equal(piped.wrote.out, 'failed failed\n')
  assert.match(piped.wrote.err, /\n {2}work \| ::compiling a thing\n {2}work \| done\nwork: succeeded/)
  assert.doesNotMatch(piped.wrote.err, /\x1b/)

  const other = folder(t)
  writeFileSync(join(other, 'go'), '')
  const github = start(t, [process.execPath, source, other], { GITHUB_ACTIONS: 'true' })
  assert.deepEqual(await github.ended(), [0, null])
  const group = '\n::stop-commands::tidegate-goes-on-1\n::compiling a thing\ndone\n::tidegate-goes-on-1::\n::endgroup::\n'
  assert.ok(github.wrote.err.includes(group), github.wrote.err)
  assert.match(github.wrote.err, /\n::error title=count::Error: no number\nthe run failed\n$/)
})

test('who reads may go', async (t) => {
  const dir = folder(t)
  const { child, wrote, ended } = start(t, [process.execPath, source, dir], {})
  await until(() => wrote.err.includes('compiling'), () => JSON.stringify(wrote))
  child.stderr.destroy()
  writeFileSync(join(dir, 'go'), '')
  assert.deepEqual(await ended(), [0, null])
  assert.equal(wrote.out, 'failed failed\n')
})
