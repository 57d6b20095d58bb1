#!/usr/bin/env node
// Starts Custody under a Node that can run it. Plain JavaScript that any Node since 18 can read:
// an old Node must reach the sentence below, not a syntax error.
import { spawn } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import nodeModule, { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const nodeNeeded = 24
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))

if (Number(process.versions.node.split('.')[0]) >= nodeNeeded) await start()
else restart()

async function start() {
  keepCompiledCode()
  // A checkout has sources and runs them; the published package has `dist` only, since Node strips
  // no types below node_modules.
  const source = path.join(root, 'src', 'cli', 'main.ts')
  const built = path.join(root, 'dist', 'src', 'cli', 'main.js')
  const entry = existsSync(source) ? source : built
  const { main } = await import(pathToFileURL(entry).href)
  const code = await main(process.argv.slice(2))
  // Not process.exit(): output to a pipe may still be on its way.
  process.exitCode = code
}

/**
 * Node keeps what it compiled (and, in a checkout, the sources without their types) below
 * `cache/code` in the home directory: half of a start is compiling. It is code that will run, so only
 * where the directory is ours alone; NODE_COMPILE_CACHE names another place and
 * NODE_DISABLE_COMPILE_CACHE=1 none. Node compares each entry with its source, and whatever cannot be
 * read or written is compiled as ever.
 */
function keepCompiledCode() {
  if (process.env.NODE_COMPILE_CACHE || process.env.NODE_DISABLE_COMPILE_CACHE) return
  const home = path.resolve(process.env.CUSTODY_HOME || '.custody')
  try {
    const { uid, mode } = statSync(home)
    const isOurs =
      process.getuid === undefined || (uid === process.getuid() && (mode & 0o022) === 0)
    if (isOurs) nodeModule.enableCompileCache(path.join(home, 'cache', 'code'))
  } catch {
    // No home yet: the next start keeps it.
  }
}

function restart() {
  const bundled = bundledNode()
  if (!bundled) {
    process.stderr.write(
      `Custody needs Node ${nodeNeeded} or newer and this is ${process.versions.node}; install it from https://nodejs.org and run the command again.\n`,
    )
    process.exitCode = 2
    return
  }
  const self = fileURLToPath(import.meta.url)
  const child = spawn(bundled, [self, ...process.argv.slice(2)], { stdio: 'inherit' })
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  process.on('SIGHUP', () => child.kill('SIGHUP'))
  // A terminal sends Ctrl-C to the child as well; forwarding it would interrupt it twice.
  process.on('SIGINT', () => {
    if (!process.stdin.isTTY) child.kill('SIGINT')
  })
  child.on('error', (error) => {
    process.stderr.write(`Custody could not start ${bundled}: ${error.message}\n`)
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    if (!signal) {
      process.exitCode = code ?? 1
      return
    }
    // Ends the way the child ended, so that a shell sees 130 after Ctrl-C.
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}

function bundledNode() {
  if (process.platform !== 'linux') return null
  try {
    const require = createRequire(import.meta.url)
    const manifest = require.resolve(`node-linux-${process.arch}/package.json`)
    const file = path.join(path.dirname(manifest), 'bin', 'node')
    return existsSync(file) ? file : null
  } catch {
    return null
  }
}
