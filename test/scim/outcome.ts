import { AppError } from '../../src/domain/errors.ts'

/** The catalogue error that `run` throws; any other error, and none, fails the test. */
export function failure(run: () => unknown): AppError {
  const outcome = attempt(run)
  if (outcome instanceof AppError) return outcome
  throw new Error('nothing was thrown')
}

/** What `run` returns, or the catalogue error it throws; any other error fails the test. */
export function attempt<T>(run: () => T): T | AppError {
  try {
    return run()
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
}
