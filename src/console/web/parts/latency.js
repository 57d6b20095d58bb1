import { day, duration, number } from '../lib/format.js'
import { html } from '../lib/html.js'
import { Empty } from './states.js'

const width = 600
const height = 160
const left = 44
const bottom = 22
const daysShown = 30
const dayMs = 86_400_000

/** Seconds at which a line is drawn; the axis is logarithmic, since a bad day is a hundred good ones. */
const marks = [0.1, 1, 10, 60, 600, 3_600, 86_400]

/**
 * How long it took from the cause until a key was tried and refused: the median and the worst of
 * each day. The same figures stand in a table for whoever does not see the picture.
 * @typedef {{ day: string, count: number, p50Seconds: any, p95Seconds: any, worstSeconds: any }} Day figures are null where none was revoked
 * @param {{ days: readonly Day[], until: string }} props the last of thirty
 */
export function Latency({ days, until }) {
  const known = days.filter((d) => d.count > 0)
  if (known.length === 0) {
    return html`<${Empty} title="No key was revoked in this time.">
      When one is, the time until it is proven dead stands here.
    <//>`
  }
  const longest = Math.max(1, ...known.map((d) => d.worstSeconds))
  const [low, high] = [Math.log10(0.05), Math.log10(longest * 2)]
  const y = (/** @type {number} */ seconds) => {
    const share = (Math.log10(Math.max(0.05, seconds)) - low) / (high - low)
    return height - bottom - share * (height - bottom - 8)
  }
  const step = (width - left) / daysShown
  const x = (/** @type {string} */ date) =>
    left + (daysShown - 0.5 - (Date.parse(until.slice(0, 10)) - Date.parse(date)) / dayMs) * step
  return html`<svg
      class="latency"
      viewBox="0 0 ${width} ${height}"
      role="img"
      aria-label="Median and worst seconds until refused, by day; the table below has the figures"
    >
      ${marks
        .filter((m) => m < longest * 2)
        .map(
          (m) =>
            html`<g>
              <line class="grid-line" x1=${left} x2=${width} y1=${y(m)} y2=${y(m)} />
              <text class="axis" x=${left - 6} y=${y(m) + 4} text-anchor="end">${duration(m)}</text>
            </g>`,
        )}
      ${known.map((d) => {
        const at = x(d.day)
        const [middle, worst] = [y(d.p50Seconds), y(d.worstSeconds)]
        return html`<g>
          <title>
            ${day(d.day)}: median ${duration(d.p50Seconds)}, worst ${duration(d.worstSeconds)},
            ${d.count} keys
          </title>
          <line class="range" x1=${at} x2=${at} y1=${middle} y2=${worst} />
          <circle class="worst" cx=${at} cy=${worst} r="3" />
          <circle class="median" cx=${at} cy=${middle} r="4" />
        </g>`
      })}
    </svg>
    <details>
      <summary>The figures</summary>
      <table class="plain-table">
        <thead>
          <tr>
            <th scope="col">Day</th>
            <th scope="col" class="number">Keys</th>
            <th scope="col" class="number">Median</th>
            <th scope="col" class="number">95 %</th>
            <th scope="col" class="number">Worst</th>
          </tr>
        </thead>
        <tbody>
          ${known.map(
            (d) =>
              html`<tr>
                <th scope="row">${day(d.day)}</th>
                <td class="number">${number(d.count)}</td>
                <td class="number">${duration(d.p50Seconds)}</td>
                <td class="number">${duration(d.p95Seconds)}</td>
                <td class="number">${duration(d.worstSeconds)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </details>`
}
