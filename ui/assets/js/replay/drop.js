// Accepts files that are dropped anywhere in the window, until `signal` aborts. `box` has the class
// `is-over` while files are over the window.

/**
 * @param {HTMLElement} box
 * @param {{onFiles: (files: File[]) => void, signal: AbortSignal}} options
 */
export function acceptDrops(box, { onFiles, signal }) {
  /** @param {DragEvent} event */
  const over = (event) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    box.classList.add('is-over');
  };
  /** @param {DragEvent} event */
  const leave = (event) => {
    if (!event.relatedTarget) box.classList.remove('is-over');
  };
  /** @param {DragEvent} event */
  const drop = (event) => {
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    box.classList.remove('is-over');
    onFiles(files);
  };
  addEventListener('dragover', over, { signal });
  addEventListener('dragleave', leave, { signal });
  addEventListener('drop', drop, { signal });
}
