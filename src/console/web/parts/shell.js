import { call, isReachable, logOut } from '../lib/api.js'
import { useRead } from '../lib/data.js'
import { words } from '../lib/format.js'
import { html, useEffect, useLayoutEffect, useState } from '../lib/html.js'
import { useKeys } from '../lib/keys.js'
import { liveState } from '../lib/live.js'
import { go, link, usePlace } from '../lib/router.js'
import { isOver, loggedInAgain, mayAct, mayLook, session } from '../lib/session.js'
import { useSignal } from '../lib/signal.js'
import { setTheme, theme } from '../lib/theme.js'
import { Dialog } from './dialog.js'
import { LogInForm } from './log-in.js'
import { Notices } from './notices.js'
import { Text, When } from './text.js'
import { Tour } from './tour.js'

/**
 * @typedef {{ readonly name: string, readonly title: string, readonly group: string, readonly key?: string, readonly isWhole?: boolean }} ScreenName `isWhole`: it shows the whole tenant, which owners and requesters do not see
 */

/** In the order of the menu; `key` follows `g`. @type {readonly ScreenName[]} */
export const screenNames = [
  { name: '', title: 'Overview', group: 'Look', key: 'o', isWhole: true },
  { name: 'accounts', title: 'Accounts', group: 'Look', key: 'a' },
  { name: 'expiry', title: 'Expiry', group: 'Look', key: 'e', isWhole: true },
  { name: 'leaver', title: 'Leaver', group: 'Act', key: 'l' },
  { name: 'held', title: 'Held batches', group: 'Act', key: 'h', isWhole: true },
  { name: 'approvals', title: 'Approvals', group: 'Act', key: 't' },
  { name: 'operations', title: 'Operations', group: 'Act', key: 'p' },
  { name: 'shadow', title: 'Shadow', group: 'Prove', isWhole: true },
  { name: 'audit', title: 'Audit', group: 'Prove', key: 'u', isWhole: true },
  { name: 'scim-log', title: 'SCIM log', group: 'Prove', key: 's', isWhole: true },
  { name: 'providers', title: 'Providers', group: 'Prove', key: 'v', isWhole: true },
]

/** @param {{ children: any }} props */
export function Shell({ children }) {
  const who = useSignal(session)
  const over = useSignal(isOver)
  const [isMenuOpen, setMenuOpen] = useState(false)
  const [isHelpOpen, setHelpOpen] = useState(false)
  const place = usePlace()
  useLayoutEffect(() => setMenuOpen(false), [place.href])
  useShortcuts(() => setHelpOpen((open) => !open))
  return html`<a class="skip" href="#main">Skip to the content</a>
    <div class="shell">
      <header class="top">
        <button
          type="button"
          class="menu-button"
          aria-expanded=${isMenuOpen}
          aria-controls="menu"
          onClick=${() => setMenuOpen(!isMenuOpen)}
        >
          Menu
        </button>
        <a class="brand" href="/console/">Custody</a>
        ${who?.demo ? html`<span class="demo-mark">demo</span>` : null}
        <span class="spring"></span>
        <${LiveMark} />
        <${ThemeButton} />
        <button
          type="button"
          class="plain"
          aria-label="Keys and help"
          onClick=${() => setHelpOpen(true)}
        >
          ?
        </button>
        <span class="who"
          ><${Text} value=${who?.client.name} />
          <span class="small">${who?.client.role}</span></span
        >
        <button type="button" onClick=${() => void logOut()}>Log out</button>
      </header>
      <${Menu} isOpen=${isMenuOpen} current=${place.screen} />
      <main id="main" tabindex="-1">
        <${Brakes} />
        ${who?.demo && mayAct() ? html`<${Tour} />` : null} ${children}
      </main>
    </div>
    <${Notices} />
    ${
      over
        ? html`<${Dialog} title="Your session has ended" mustAnswer onClose=${() => {}}>
            <${LogInForm}
              sentence="Log in again to go on. What is open on this page stays as it is, and what you were doing is sent again."
            />
          <//>`
        : null
    }
    ${isHelpOpen ? html`<${Help} onClose=${() => setHelpOpen(false)} />` : null}`
}

/** @param {{ isOpen: boolean, current: string }} props */
function Menu({ isOpen, current }) {
  const seen = screenNames.filter((s) => !s.isWhole || mayLook())
  const groups = [...new Set(seen.map((s) => s.group))]
  const waiting = useRead(mayLook() ? '/api/v1/approvals?status=waiting&limit=20' : null, {
    concerns: (change) => change.subject.type === 'approval' || /brake|approval/.test(change.type),
  })
  const held = waiting.data?.items.length ?? 0
  return html`<nav id="menu" class=${isOpen ? 'menu open' : 'menu'} aria-label="Screens">
    ${groups.map(
      (group) =>
        html`<div class="menu-group">
          <p class="menu-title">${group}</p>
          <ul>
            ${seen
              .filter((s) => s.group === group)
              .map(
                (s) =>
                  html`<li>
                    <a
                      href=${link(s.name === '' ? [] : [s.name])}
                      aria-current=${s.name === current ? 'page' : null}
                      >${s.title}
                      ${
                        s.name === 'held' && held > 0
                          ? html` <span class="badge"
                              >${held}<span class="hidden"> open</span></span
                            >`
                          : null
                      }</a
                    >
                  </li>`,
              )}
          </ul>
        </div>`,
    )}
  </nav>`
}

/** What Custody has stopped doing by itself is said on every screen, and what to do about it. */
function Brakes() {
  const read = useRead(mayLook() ? '/api/v1/brakes' : null, {
    concerns: (change) => /brake/i.test(change.type) || change.subject.type === 'brake',
    everyMs: 30_000,
  })
  const brakes = /** @type {any[]} */ (read.data?.items ?? [])
  const reachable = useSignal(isReachable)
  return html`${
    reachable
      ? null
      : html`<div class="banner bad" role="alert">
          <p>
            <strong>The server does not answer.</strong> What you see is what was last read; it is
            read anew as soon as it answers.
          </p>
        </div>`
  }
  ${brakes.map(
    (brake) =>
      html`<div class="banner warn" key=${`${brake.name} ${brake.subject}`} role="alert">
        <p>
          <strong>${brakeSentences[brake.name] ?? `The brake ${brake.name} is on.`}</strong>
          ${brake.subject ? html` It concerns <${Text} value=${brake.subject} />.` : null}
          ${brake.stops.length > 0 ? ` Stopped meanwhile: ${brake.stops.map(words).join(', ')}.` : ''}
          ${' '}<span class="small">On since <${When} at=${brake.since} />.</span>
        </p>
        <a class="button" href=${link(brake.name === 'leavers' ? ['held'] : ['approvals'])}
          >${mayAct() ? 'Look and decide' : 'Look'}</a
        >
      </div>`,
  )}`
}

/** What each brake means, for whoever is on call. @type {Readonly<Record<string, string>>} */
const brakeSentences = {
  leavers: 'A directory lets too many people go at once: the rest is held for your decision.',
  clock: 'The clock of this machine cannot be believed: nothing is switched off by date.',
  restored:
    'The database is older than what the providers hold: it was restored. Nothing is minted or ended by itself.',
  listing: 'A provider lists less than it did: nothing is concluded from what is missing.',
}

function LiveMark() {
  const state = useSignal(liveState)
  const said = { live: 'Live', waiting: 'Reconnecting', off: 'Paused' }[state]
  return html`<span class="live ${state}" role="status" title="Changes show by themselves"
    ><span aria-hidden="true">●</span> ${said}</span
  >`
}

function ThemeButton() {
  const value = useSignal(theme)
  /** @type {Readonly<Record<string, import('../lib/theme.js').Theme>>} */
  const next = { system: 'light', light: 'dark', dark: 'system' }
  const sign = { system: '◐', light: '☀', dark: '☾' }[value]
  return html`<button
    type="button"
    class="plain"
    aria-label=${`Colours: ${value}. Change`}
    title=${`Colours: ${value}`}
    onClick=${() => setTheme(next[value] ?? 'system')}
  >
    ${sign}
  </button>`
}

/** @param {() => void} onHelp */
function useShortcuts(onHelp) {
  const [isGoing, setGoing] = useState(false)
  /** @type {import('../lib/keys.js').Keys} */
  const places = Object.fromEntries(
    screenNames.flatMap((s) => (s.key ? [[s.key, () => go(link(s.name ? [s.name] : []))]] : [])),
  )
  useEffect(() => {
    if (!isGoing) return undefined
    const timer = setTimeout(() => setGoing(false), 1_500)
    return () => clearTimeout(timer)
  }, [isGoing])
  useLayoutEffect(() => {
    if (!isGoing) return undefined
    // Before the keys of the screen, for this one stroke.
    const onKey = (/** @type {KeyboardEvent} */ event) => {
      setGoing(false)
      const act = places[event.key]
      if (act === undefined) return
      event.preventDefault()
      event.stopPropagation()
      act(event)
    }
    document.addEventListener('keydown', onKey, { capture: true })
    return () => document.removeEventListener('keydown', onKey, { capture: true })
  }, [isGoing])
  useKeys({
    '?': onHelp,
    g: () => setGoing(true),
    '/': () => {
      /** @type {HTMLElement | null} */
      const field = document.querySelector('[data-find]')
      field?.focus()
    },
  })
}

/** @param {{ onClose: () => void }} props */
function Help({ onClose }) {
  const who = useSignal(session)
  const keys = [
    ['/', 'go to the filter of this screen'],
    ['j, k', 'next and previous row'],
    ['Enter', 'open the row'],
    ['x', 'pick the row'],
    ['?', 'this page'],
    ...screenNames.flatMap((s) => (s.key ? [[`g ${s.key}`, s.title]] : [])),
  ]
  return html`<${Dialog} title="Keys and help" onClose=${onClose}>
    <dl class="keys">
      ${keys.map(
        ([key, what]) =>
          html`<div>
            <dt><kbd>${key}</kbd></dt>
            <dd>${what}</dd>
          </div>`,
      )}
    </dl>
    <p class="small">
      Everything here can be done with the command line, too: <code>custody --help</code>. Version
      ${' '}${who?.version ?? 'unknown'}, tenant <${Text} value=${who?.tenant} />.
    </p>
  <//>`
}

const stayMs = 4 * 60_000

/** While somebody is at work the session is made to last. */
export function stayLoggedIn() {
  let isUsed = false
  for (const type of ['pointerdown', 'keydown'])
    document.addEventListener(type, () => (isUsed = true), { passive: true })
  setInterval(() => {
    if (!isUsed || isOver.get()) return
    isUsed = false
    call('GET', '/api/v1/session').then(
      ({ client }) => {
        if (client === null) void loggedInAgain()
      },
      () => undefined,
    )
  }, stayMs)
}
