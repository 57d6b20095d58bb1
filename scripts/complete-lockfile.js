// Adds to package-lock.json the platform packages that a registry mirror did not offer when the lock
// file was made. Without an entry `npm ci` refuses ("Missing … from lock file") on every platform;
// with one it skips those of other platforms. Run after each change of dependencies:
//   npm install && node scripts/complete-lockfile.js
// Such entries carry no integrity, since their archives were never seen here.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const file = path.join(
  path.dirname(path.dirname(fileURLToPath(import.meta.url))),
  'package-lock.json',
)
const lock = JSON.parse(readFileSync(file, 'utf8'))

const systems = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32']
const processors = [
  'arm64',
  'arm',
  'ia32',
  'ppc64',
  'riscv64',
  's390x',
  'x64',
  'loong64',
  'mips64el',
]

let added = 0
for (const [where, entry] of Object.entries(lock.packages)) {
  if (where === '') continue
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    if (lock.packages[key]) continue
    const words = name.split(/[/-]/)
    const os = systems.find((s) => words.includes(s))
    const cpu = processors.find((p) => words.includes(p))
    if (!os || !cpu) throw new Error(`${name}: which platform is it for?`)
    const libc = words.includes('musl') ? ['musl'] : os === 'linux' ? ['glibc'] : null
    lock.packages[key] = {
      version,
      cpu: [cpu],
      ...(entry.dev ? { dev: true } : {}),
      ...(libc ? { libc } : {}),
      license: entry.license,
      optional: true,
      os: [os],
      ...(entry.engines ? { engines: entry.engines } : {}),
    }
    added += 1
  }
}
const sorted = Object.keys(lock.packages).sort((a, b) => (a < b ? -1 : 1))
lock.packages = Object.fromEntries(sorted.map((key) => [key, lock.packages[key]]))
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
process.stdout.write(`${added} platform packages added to package-lock.json\n`)
