import { visible } from '../host/visible.ts'
import { CommandFailure, type ExitCode, exitCodes } from './terminal.ts'

/** What the operating system said no to, in the words of whoever can mend it. */
const reasons: Readonly<Record<string, readonly [reason: string, ExitCode]>> = {
  ENOENT: ['cannot be made or found here', exitCodes.usage],
  ENOTDIR: ['is below something that is not a directory', exitCodes.usage],
  EEXIST: ['is there already, and is not a directory', exitCodes.usage],
  EISDIR: ['is a directory, where a file is needed', exitCodes.usage],
  EACCES: ['may not be read or written by this user', exitCodes.usage],
  EPERM: ['may not be changed by this user', exitCodes.usage],
  EROFS: ['is on a file system that is read-only', exitCodes.usage],
  ENAMETOOLONG: ['is too long a name', exitCodes.usage],
  ENOSPC: ['cannot be written: the disk is full', exitCodes.failed],
  EDQUOT: ['cannot be written: the disk quota is used up', exitCodes.failed],
  EMFILE: ['cannot be opened: this process has too many files open', exitCodes.failed],
  EIO: ['cannot be read or written: the disk reports an error', exitCodes.failed],
  SQLITE_NOTADB: ['is not an SQLite database', exitCodes.usage],
  SQLITE_CANTOPEN: ['cannot be opened as a database', exitCodes.usage],
  SQLITE_READONLY: ['may not be written by this user', exitCodes.usage],
  SQLITE_FULL: ['cannot be written: the disk is full', exitCodes.failed],
  SQLITE_IOERR: ['cannot be read or written: the disk reports an error', exitCodes.failed],
  SQLITE_CORRUPT: ['is a damaged database; restore a backup', exitCodes.integrity],
}

/**
 * One sentence for an error of the file system or of SQLite, naming the path.
 * @param database where the database is; SQLite's own errors do not say
 * @returns null for an error of any other kind
 */
export function systemFailure(error: unknown, database: string | null): CommandFailure | null {
  const { code, path, dest } = (error ?? {}) as NodeJS.ErrnoException & { readonly dest?: string }
  if (typeof code !== 'string') return null
  // The store says that it is not ready; what the disk said is behind that.
  if (code === 'notReady') return systemFailure((error as Error).cause, database)
  const isDatabase = code.startsWith('SQLITE_')
  // SQLite refines its codes: SQLITE_READONLY_DIRECTORY, SQLITE_IOERR_WRITE.
  const known = isDatabase ? code.split('_').slice(0, 2).join('_') : code
  const place = isDatabase ? database : (dest ?? path)
  const found = reasons[known]
  if (!found || !place) return null
  const [reason, exitCode] = found
  return new CommandFailure(exitCode, visible(`${place} ${reason} (${code}).`), error)
}

/** The same for an address that cannot be listened on. */
export function listenFailure(
  error: unknown,
  { host, port }: { readonly host: string; readonly port: number },
): CommandFailure | null {
  const { code, syscall } = (error ?? {}) as NodeJS.ErrnoException
  const fail = (exitCode: ExitCode, sentence: string) =>
    new CommandFailure(exitCode, visible(sentence), error)
  if (code === 'EADDRINUSE') {
    return fail(
      exitCodes.failed,
      `Port ${port} on ${host} is taken by another program; free it, or choose another address, e.g. CUSTODY_LISTEN=${host}:${port < 65_535 ? port + 1 : 0}.`,
    )
  }
  if (syscall === 'listen' && code === 'EACCES') {
    return fail(
      exitCodes.usage,
      `Port ${port} on ${host} is not open to this user; choose another.`,
    )
  }
  if (code === 'EADDRNOTAVAIL' || syscall === 'getaddrinfo') {
    return fail(exitCodes.usage, `${host} is not an address of this machine (listen.host).`)
  }
  return null
}
