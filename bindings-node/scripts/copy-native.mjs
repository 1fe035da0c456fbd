// Copies the native part that `cargo build -p tidegate-node` has built to where the package loads it from.
// usage: node scripts/copy-native.mjs [debug|release]
import { copyFileSync, existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'

const profile = process.argv[2] ?? 'debug'
const root = join(import.meta.dirname, '..', '..')
const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target')
const library = process.platform === 'darwin' ? 'libtidegate_node.dylib' : 'libtidegate_node.so'
const built = join(target, profile, library)
if (!existsSync(built)) {
  console.error(`there is no ${built}: run cargo build -p tidegate-node first`)
  process.exit(1)
}
const folder = join(import.meta.dirname, '..', 'native')
mkdirSync(folder, { recursive: true })
const name = `tidegate.${process.platform}-${process.arch}.node`
// Moved into place, so that a process that has the old one loaded keeps it.
copyFileSync(built, join(folder, `${name}.new`))
renameSync(join(folder, `${name}.new`), join(folder, name))
