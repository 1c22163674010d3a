/* Drawing keeps pace with the screen, not with the feed: however much comes, a page is drawn once per frame. */

/** A function that has `draw` called at the next frame, once, however often it is called before. */
export function perFrame(draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      draw();
    });
  };
}
