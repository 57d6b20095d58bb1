// Builds what the published package runs: `src` → `dist/src`, `providers` → `dist/providers`, so
// that imports between the two and relative paths stay as they are. A checkout needs none of this.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const out = path.join(root, 'dist')

// A file whose source is gone must not be published again.
rmSync(out, { recursive: true, force: true })

const compiler = path.join(root, 'node_modules', '.bin', 'tsc')
// Types only of what others import: `custody/provider` and `custody/conformance`.
for (const project of ['tsconfig.build.json', 'tsconfig.kit.json']) {
  const { status, error } = spawnSync(compiler, ['-p', project], { cwd: root, stdio: 'inherit' })
  if (status !== 0) {
    process.stderr.write(`The build failed${error ? `: ${error.message}` : ''}.\n`)
    process.exit(1)
  }
}

// What is not TypeScript goes along: JSON schemas, the console, static assets.
for (const folder of ['src', 'providers'].filter((f) => existsSync(path.join(root, f)))) {
  for (const entry of readdirSync(path.join(root, folder), {
    recursive: true,
    withFileTypes: true,
  })) {
    if (!entry.isFile() || /\.(ts|md)$|^tsconfig/.test(entry.name)) continue
    const from = path.join(entry.parentPath, entry.name)
    cpSync(from, path.join(out, path.relative(root, from)))
  }
}
