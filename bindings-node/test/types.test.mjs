// A step of the wrong type fails tsc with one error, and passes once its one marked mistake is mended.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const here = import.meta.dirname
const root = join(here, '..')

/** The errors of a program, as the file would be compiled by somebody who has installed the package. */
function tsc(compiler, text) {
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

for (const compiler of ['typescript', 'typescript-5.9']) {
  for (const file of readdirSync(join(here, 'types'))) {
    test(`${file} has one mistake for ${compiler}`, async () => {
      const text = readFileSync(join(here, 'types', file), 'utf8')
      const [, before, after] = /\/\/ MISTAKE: (.*) -> (.*)/.exec(text)
      const line = text.split('\n').findIndex((each) => each.includes('// MISTAKE')) + 1
      const errors = await tsc(compiler, text)
      assert.ok(errors.length > 0, 'it must not compile')
      assert.deepEqual([...new Set(errors.map((error) => Number(/\((\d+),/.exec(error)?.[1])))], [line], errors.join('\n'))
      const lines = text.split('\n')
      lines[line - 1] = lines[line - 1].split('//')[0].replace(before, after)
      assert.deepEqual(await tsc(compiler, lines.join('\n')), [])
    })
  }
}

test('the program of the README compiles', async () => {
  const readme = readFileSync(join(root, '..', 'README.md'), 'utf8')
  const [, program] = /```js\n([^]*?)```/.exec(readme)
  assert.deepEqual(await tsc('typescript', program), [])
})
