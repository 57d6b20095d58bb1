/// <reference lib="dom" />
import type { Locator, Page } from 'playwright-core'

const stepsMax = 400

/**
 * Goes to a control the way somebody without a mouse does: Tab by Tab from where the focus is.
 * @throws when it is not reached, or when the focus cannot be seen on it
 */
export async function tabTo(page: Page, target: Locator, key: 'Tab' | 'Shift+Tab' = 'Tab') {
  await target.waitFor()
  for (let step = 0; step < stepsMax; step += 1) {
    if (await target.evaluate((element) => element === document.activeElement)) {
      if (await isInSight(target)) return
      // What has been read meanwhile stands above it now: a step forth and back shows it again.
      await page.keyboard.press(key)
      await page.keyboard.press(key === 'Tab' ? 'Shift+Tab' : 'Tab')
      if (await isInSight(target)) return
      throw new Error(`the focus is on ${target.toString()}, which is out of sight`)
    }
    await page.keyboard.press(key)
  }
  throw new Error(`the keyboard does not reach ${target.toString()}`)
}

async function isInSight(target: Locator): Promise<boolean> {
  return target.evaluate((element) => {
    const box = element.getBoundingClientRect()
    return box.width > 0 && box.bottom > 0 && box.top < window.innerHeight
  })
}

export async function pressOn(page: Page, target: Locator, key = 'Enter'): Promise<void> {
  await tabTo(page, target)
  await page.keyboard.press(key)
}

/** Writes into a field that has been reached with the keyboard, in place of what it holds. */
export async function typeInto(page: Page, target: Locator, text: string): Promise<void> {
  await tabTo(page, target)
  await page.keyboard.press('ControlOrMeta+a')
  await page.keyboard.insertText(text)
}
