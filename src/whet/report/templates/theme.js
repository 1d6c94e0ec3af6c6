(function () {
  var root = document.documentElement, button = document.getElementById("theme");
  function store(value) { try { if (value) { localStorage.setItem("whet-theme", value); } else { return localStorage.getItem("whet-theme"); } } catch (error) { return null; } return null; }
  function dark() { return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches; }
  var kept = store();
  if (kept === "dark" || kept === "light") { root.dataset.theme = kept; }
  button.hidden = false;
  button.addEventListener("click", function () { root.dataset.theme = dark() ? "light" : "dark"; store(root.dataset.theme); });
  addEventListener("beforeprint", function () { document.querySelectorAll("details").forEach(function (one) { one.open = true; }); });
})();
