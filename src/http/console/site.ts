import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

/** One file that a browser may ask for. */
export interface Asset {
  readonly type: string
  readonly bytes: Buffer
  /** The same, compressed. */
  readonly gzip: Buffer
}

export interface Site {
  /** Of everything below: part of each address, so that a page never mixes two versions. */
  readonly version: string
  /** By path below `/console/assets/<version>/`. */
  readonly assets: ReadonlyMap<string, Asset>
  /** The page that loads `entry`, e.g. `main.js`, and the policy it is served with. */
  page(entry: string, title: string): { readonly html: string; readonly policy: string }
}

const types: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** What the browser calls it, and the package's file it is: nothing else of node_modules is served. */
const vendored = {
  preact: { specifier: 'preact', file: 'vendor/preact.mjs' },
  'preact/hooks': { specifier: 'preact/hooks', file: 'vendor/preact-hooks.mjs' },
  htm: { specifier: 'htm', file: 'vendor/htm.mjs' },
} as const

export const assetsPath = '/console/assets'

/**
 * Reads the console once: our modules as they are, and three files of two packages. There is no
 * build; the browser finds the packages by an import map.
 */
export function readSite(): Site {
  const web = path.resolve(import.meta.dirname, '../../console/web')
  const assets = new Map<string, Asset>()
  for (const name of readdirSync(web, { recursive: true, encoding: 'utf8' }).sort()) {
    const type = types[path.extname(name)]
    if (type !== undefined) {
      assets.set(name.split(path.sep).join('/'), assetOf(type, readFileSync(path.join(web, name))))
    }
  }
  for (const { specifier, file } of Object.values(vendored)) {
    const bytes = readFileSync(fileURLToPath(import.meta.resolve(specifier)))
    // Maps of sources that are not served would only be asked for in vain.
    const text = bytes.toString('utf8').replace(/^\/\/# sourceMappingURL=.*$/m, '')
    assets.set(file, assetOf(types['.mjs']!, Buffer.from(text)))
  }
  const hash = createHash('sha256')
  for (const [name, { bytes }] of assets) hash.update(`${name}\0${bytes.length}\0`).update(bytes)
  const version = hash.digest('base64url').slice(0, 16)
  return { version, assets, page: (entry, title) => pageOf({ version, assets, entry, title }) }
}

function assetOf(type: string, bytes: Buffer): Asset {
  return { type, bytes, gzip: gzipSync(bytes) }
}

function pageOf(of: {
  readonly version: string
  readonly assets: ReadonlyMap<string, Asset>
  readonly entry: string
  readonly title: string
}): { readonly html: string; readonly policy: string } {
  const base = `${assetsPath}/${of.version}`
  const imports = Object.fromEntries(
    Object.entries(vendored).map(([name, { file }]) => [name, `${base}/${file}`]),
  )
  const map = JSON.stringify({ imports })
  // One round trip for all modules; without it each level of imports costs one.
  const preloads = [...of.assets.keys()]
    .filter((name) => /\.m?js$/.test(name) && isOf(of.entry, name))
    .map((name) => `<link rel="modulepreload" href="${base}/${name}">`)
  const own = of.entry.replace(/\.js$/, '.css')
  const sheet = of.assets.has(own) ? `\n<link rel="stylesheet" href="${base}/${own}">` : ''
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${of.title}</title>
<link rel="icon" href="${base}/icon.svg">
<link rel="stylesheet" href="${base}/console.css">${sheet}
<script type="importmap">${map}</script>
${preloads.join('\n')}
<script type="module" src="${base}/${of.entry}"></script>
</head>
<body>
<div id="app"><p class="boot">Loading ${of.title}…</p></div>
<noscript><p class="boot">This page needs JavaScript. The command line does not: custody --help</p></noscript>
</body>
</html>
`
  return { html, policy: policyOf(map) }
}

/**
 * Entries stand beside each other. Each has what is in a folder of its name; the console's, `main.js`,
 * has all the others, the packages every entry.
 */
function isOf(entry: string, name: string): boolean {
  const folder = (of: string): string => `${of.replace(/\.js$/, '')}/`
  if (name === entry || name.startsWith('vendor/') || name === 'lib/html.js') return true
  return entry === 'main.js'
    ? name.includes('/') && !name.startsWith(folder('api.js'))
    : name.startsWith(folder(entry))
}

/**
 * Only our own files run, nothing inline but the import map (by its hash), nothing that is text
 * becomes markup or script (Trusted Types without any policy), nobody frames the page.
 */
function policyOf(map: string): string {
  const hash = createHash('sha256').update(map).digest('base64')
  return [
    "default-src 'none'",
    `script-src 'self' 'sha256-${hash}'`,
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
    'report-uri /console/csp-report',
  ].join('; ')
}
