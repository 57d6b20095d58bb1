import { Fragment, h, render } from 'preact'
import htm from 'htm'

/** Markup as a tagged template: what stands in `${…}` becomes text, never markup. */
export const html = htm.bind(h)
export { Fragment, render }
export {
  useCallback,
  useEffect,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from 'preact/hooks'
