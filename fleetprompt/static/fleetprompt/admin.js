// Tells the server the browser's time zone, so that it shows times as the person's own clock does.
(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) {
    document.cookie = `timezone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;
  }
})();

// Ages go on while the page is open. `data-age` has the seconds from when the server made the page.
(() => {
  const UNITS = [[31536000, "y"], [86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const TICK_MILLISECONDS = 1000;
  const began = new WeakMap();

  const relative = (seconds) => {
    const whole = Math.floor(Math.abs(seconds));
    const [size, unit] = UNITS.find(([size]) => whole >= size) ?? [];
    if (!size) return "now";
    const text = `${Math.floor(whole / size)} ${unit}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  };

  const tick = () => {
    if (document.visibilityState !== "visible") return;
    for (const time of document.querySelectorAll("time[data-age]")) {
      if (!began.has(time)) began.set(time, Date.now() - 1000 * time.dataset.age);
      const text = relative((Date.now() - began.get(time)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  };

  for (const event of ["DOMContentLoaded", "htmx:afterSwap", "visibilitychange"]) {
    document.addEventListener(event, tick);
  }
  setInterval(tick, TICK_MILLISECONDS);
})();

// An answer to a POST, such as a form with errors, becomes an ordinary page of the history: Back and Reload ask
// for it anew instead of warning about a second submit.
history.replaceState(history.state, "", location.href);

// Who has to mend a form begins at the first field that is wrong.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelector("main [aria-invalid=true]")?.focus();
});

// A list's ticks come back with the person who goes back from the question, and not after it was answered.
(() => {
  const KEY = "ticked";
  const address = () => location.pathname + location.search;

  document.addEventListener("submit", (event) => {
    if (event.target.id !== "changelist-form") return;
    const form = new FormData(event.target);
    const ticked = { ids: form.getAll("_selected_action"), isAll: form.get("select_across") === "1" };
    sessionStorage.setItem(KEY, JSON.stringify({ address: address(), ...ticked }));
  });

  const restore = () => {
    const isBack = performance.getEntriesByType("navigation")[0]?.type === "back_forward";
    if (location.hash !== "#ticked" && !isBack) return;
    if (location.hash === "#ticked") history.replaceState(history.state, "", address());
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    if (kept?.address !== address()) return;
    for (const box of document.querySelectorAll("tr input.action-select")) {
      const isTicked = kept.ids.includes(box.value);
      if (box.checked === isTicked) continue;
      box.checked = isTicked;
      box.dispatchEvent(new Event("change", { bubbles: true }));
    }
    if (kept.isAll) document.querySelector(".actions .question a")?.click();
  };

  // Django counts the ticks at this event, and would take back that all are chosen.
  window.addEventListener("pageshow", (event) => {
    if (document.querySelector("[data-done]")) sessionStorage.removeItem(KEY);
    if (!event.persisted && document.getElementById("changelist-form")) setTimeout(restore);
  });
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
      if (field.getAttribute("aria-required")) drawn.setAttribute("aria-required", "true");
      const text = drawn.querySelector(".select2-selection__rendered");
      drawn.setAttribute("aria-labelledby", text ? `${label.id} ${text.id}` : label.id);
      text?.setAttribute("aria-labelledby", label.id);
    }
  });
});
