// Tells the server the browser's time zone, so that it shows times as the person's own clock does.
(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) {
    document.cookie = `timezone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;
  }
})();

// A part of a page that loads itself again keeps what the person opened and how far they scrolled.
(() => {
  let kept = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    kept = [...event.target.querySelectorAll("details[id], .fp-scroll[id]")].map((element) => ({
      id: element.id,
      open: element.open,
      left: element.scrollLeft,
    }));
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const { id, open, left } of kept) {
      const element = document.getElementById(id);
      if (element) {
        if (open !== undefined) element.open = open;
        element.scrollLeft = left;
      }
    }
    kept = [];
  });
})();

// select2 leaves what it draws without a name: it gets the label of the field that it stands for.
window.addEventListener("load", () => {
  // jQuery's turn comes after select2's own, which is waiting for jQuery too.
  window.django?.jQuery?.(() => {
    for (const field of document.querySelectorAll("select.select2-hidden-accessible[id]")) {
      const label = document.querySelector(`label[for="${field.id}"]`);
      const drawn = field.nextElementSibling?.querySelector(".select2-selection");
      if (!label || !drawn) continue;
      label.id ||= `${field.id}-label`;
      const text = drawn.querySelector(".select2-selection__rendered");
      drawn.setAttribute("aria-labelledby", text ? `${label.id} ${text.id}` : label.id);
      text?.setAttribute("aria-labelledby", label.id);
    }
  });
});
