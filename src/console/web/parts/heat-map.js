import { count, day } from '../lib/format.js'
import { html, useRef, useState } from '../lib/html.js'

const cell = 12
const gap = 3
const left = 30
const top = 18
const dayMs = 86_400_000
const weekdays = ['Mon', '', 'Wed', '', 'Fri', '', '']

/** @param {number} ms */
function dateOf(ms) {
  return new Date(ms).toISOString().slice(0, 10)
}

/** From nothing to a lot, in four steps of the busiest day. @param {number} n @param {number} most */
function levelOf(n, most) {
  return n === 0 ? 0 : Math.min(4, 1 + Math.floor((n / most) * 3.999))
}

/**
 * A year of days as a map of weeks; the arrow keys go from day to day, Enter picks one.
 * @param {{ from: string, items: readonly { day: string, accounts: number, credentials: number }[], picked: string | null, onPick: (day: string) => void }} props
 */
export function HeatMap({ from, items, picked, onPick }) {
  const byDay = new Map(items.map((i) => [i.day, i]))
  const most = Math.max(1, ...items.map((i) => i.accounts + i.credentials))
  const first = Date.parse(`${from}T00:00:00Z`)
  const offset = (new Date(first).getUTCDay() + 6) % 7
  const days = Array.from({ length: 364 }, (_v, i) => dateOf(first + i * dayMs))
  const [at, setFocus] = useState(picked ?? from)
  const focus = days.includes(at) ? at : from
  const frame = useRef(/** @type {SVGSVGElement | null} */ (null))
  const weeks = Math.ceil((offset + days.length) / 7)
  const move = (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowRight: 7, ArrowLeft: -7, ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault()
      onPick(focus)
    }
    if (by === undefined) return
    event.preventDefault()
    const index = Math.max(0, Math.min(days.length - 1, days.indexOf(focus) + by))
    const next = days[index] ?? focus
    setFocus(next)
    /** @type {SVGElement | null | undefined} */
    const target = frame.current?.querySelector(`[data-day="${next}"]`)
    target?.focus()
  }
  return html`<div class="heat-frame">
    <svg
      ref=${frame}
      class="heat"
      viewBox="0 0 ${left + weeks * (cell + gap)} ${top + 7 * (cell + gap)}"
      width=${left + weeks * (cell + gap)}
      role="group"
      aria-label="What ends on each day of the next 52 weeks; arrow keys go from day to day"
      onKeyDown=${move}
    >
      ${weekdays.map((name, i) => (name ? html`<text class="axis" x="0" y=${top + i * (cell + gap) + 10}>${name}</text>` : null))}
      ${days.map((date, i) => {
        const week = Math.floor((offset + i) / 7)
        const weekday = (offset + i) % 7
        const found = byDay.get(date)
        const n = (found?.accounts ?? 0) + (found?.credentials ?? 0)
        const [x, y] = [left + week * (cell + gap), top + weekday * (cell + gap)]
        const said = found
          ? `${count(found.accounts, 'account')}, ${count(found.credentials, 'credential')}`
          : 'nothing'
        return html`${
            date.endsWith('-01')
              ? html`<text class="axis" x=${x} y="11">${monthOf(date)}</text>`
              : null
          }<rect
            key=${date}
            class="day level-${levelOf(n, most)} ${date === picked ? 'picked-day' : ''}"
            data-day=${date}
            x=${x}
            y=${y}
            width=${cell}
            height=${cell}
            rx="2"
            role="button"
            tabindex=${date === focus ? 0 : -1}
            aria-pressed=${date === picked}
            aria-label=${`${day(date)}: ${said}`}
            onClick=${() => {
              setFocus(date)
              onPick(date)
            }}
            ><title>${day(date)}: ${said}</title></rect
          >`
      })}
    </svg>
  </div>`
}

const months = new Intl.DateTimeFormat('en', { month: 'short', timeZone: 'UTC' })

/** @param {string} date */
function monthOf(date) {
  return months.format(new Date(`${date}T00:00:00Z`))
}
