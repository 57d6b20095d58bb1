import { count, day as dayText } from '../lib/format.js'
import { html } from '../lib/html.js'

const height = 72
const width = 720

/**
 * A bar a day; the same as a table for whoever does not see it.
 * @param {{ days: readonly { day: string, total: number, acts: Readonly<Record<string, number>> }[], what: string }} props
 */
export function DayBars({ days, what }) {
  const most = Math.max(1, ...days.map((d) => d.total))
  const step = width / days.length
  const busy = days.filter((d) => d.total > 0)
  const said = (/** @type {(typeof days)[number]} */ d) =>
    `${dayText(`${d.day}T12:00:00Z`)}: ${Object.entries(d.acts)
      .map(([act, n]) => `${n} ${act}`)
      .join(', ')}`
  return html`<figure class="day-bars">
    <svg
      viewBox=${`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      role="img"
      aria-label=${`${what}, by day: ${busy.map(said).join('; ')}`}
    >
      ${days.map((d, i) => {
        const high = d.total === 0 ? 1 : Math.max(4, (d.total / most) * height)
        return html`<rect
          key=${d.day}
          class=${d.total === 0 ? 'none' : 'some'}
          x=${i * step + step * 0.1}
          y=${height - high}
          width=${step * 0.8}
          height=${high}
        >
          <title>${d.total === 0 ? dayText(`${d.day}T12:00:00Z`) : said(d)}</title>
        </rect>`
      })}
    </svg>
    <figcaption class="row small">
      <span>${dayText(`${days[0]?.day}T12:00:00Z`)}</span>
      <span class="spring"></span>
      <span>at most ${count(most, 'act')} a day</span>
      <span class="spring"></span>
      <span>${dayText(`${days.at(-1)?.day}T12:00:00Z`)}</span>
    </figcaption>
  </figure>`
}
