// Builds one version of the shop into a folder: `node build.mjs --version v2 --out DIR`.

import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

export async function build(version, out) {
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(version)) {
    throw new Error(`a version is made of letters, digits, dots and dashes: ${version}`)
  }
  await mkdir(out, { recursive: true })
  for (const name of ['main.mjs', 'shop.mjs', 'package.json']) {
    await copyFile(join(import.meta.dirname, name), join(out, name))
  }
  await writeFile(join(out, 'version.js'), `export const VERSION = '${version}'\n`)
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({ options: { version: { type: 'string' }, out: { type: 'string' } } })
  if (values.version === undefined || values.out === undefined) {
    console.error('build: say --version and --out')
    process.exitCode = 2
  } else {
    await build(values.version, values.out)
  }
}
