// The command `tidegate` that the package installs, beside a program that drives the journal.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Reader } from '../dist/index.js'
import { folder, program, until } from './help.mjs'

const command = join(import.meta.dirname, '..', 'dist', 'cli.js')

/** What the command line answers. */
function ask(...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, [command, ...args], (error, out, err) => resolve([error?.code ?? 0, out, err]))
  })
}

test('shows, follows and cancels what a program drives', async (t) => {
  const dir = folder(t)
  const journal = join(dir, 'release.db')
  const driver = program(t, 'drive.mjs', dir)
  await until(async () => {
    const [code, out] = await ask('-j', journal, '--json', 'show', 'k')
    return code === 0 && JSON.parse(out).steps.hangs.status === 'running'
  }, 'the run to hang')
  const watched = ask('-j', journal, 'watch', 'k')
  const [, out] = await ask('-j', journal, '--json', 'show', 'k')
  const shown = JSON.parse(out)
  assert.deepEqual([shown.pipeline, shown.driver.pid], ['release', driver.child.pid])
  const [code, said, err] = await ask('-j', journal, 'cancel', 'k', '--by', 'ann', '--reason', 'enough')
  assert.deepEqual([code, said.split('\n')[0], err], [0, 'cancelled by ann: enough', ''])
  const [ended, told] = await watched
  assert.deepEqual([ended, told.trimEnd().split('\n').at(-1)], [4, 'the run was cancelled'])
  await driver.ended()
  assert.equal((await ask('-j', journal, 'verify'))[0], 0)
  const page = join(dir, 'page.html')
  assert.deepEqual((await ask('-j', journal, 'report', 'k', '-o', page)).slice(0, 2), [0, `written to ${page}\n`])
  const reader = await Reader.open(journal)
  t.after(() => reader.close())
  const text = await reader.report(shown.id)
  assert.equal(text, readFileSync(page, 'utf8'))
  assert.match(text, /cancelled/)
  await assert.rejects(reader.report('nothing'), { kind: 'not_found' })
})

test('says how it is called', async () => {
  const [code, out, err] = await ask('show')
  assert.deepEqual([code, out], [2, ''])
  assert.match(err, /<RUN>/)
  const [nameless, , why] = await ask('runs')
  assert.equal(nameless, 2)
  assert.match(why, /name it with --journal FILE/)
})
