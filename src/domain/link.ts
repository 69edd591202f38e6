/**
 * Whether a symbolic link stays in the tree that holds it. `link` is its path in the tree, all of whose directories are
 * true ones; `target` is what it says. Only a leading run of `..` is allowed: after a name that may be a link itself, the
 * kernel's `..` leads elsewhere than the text does.
 */
export function linkStaysBelow(link: string, target: string): boolean {
  if (target.startsWith('/') || target.includes('\0')) return false;
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const up = parts.findIndex((part) => part !== '..');
  const climbs = up === -1 ? parts.length : up;
  const depth = link.split('/').filter((part) => part !== '' && part !== '.').length - 1;
  return climbs <= depth && !parts.slice(climbs).includes('..');
}
