// Stands in for the object that WeChat's browser gives to a page. Loaded into
// the page by a test; pays through the simulator's /phone/jsapi.
(function () {
  "use strict";
  var base = "BASE";
  window.WeixinJSBridge = {
    invoke: function (name, params, callback) {
      var answer = callback || function () {};
      if (name !== "getBrandWCPayRequest") {
        setTimeout(function () { answer({ err_msg: name + ":fail, not simulated" }); }, 0);
        return;
      }
      // Sent as text, which needs no preflight.
      fetch(base + "/phone/jsapi", { method: "POST", body: JSON.stringify(params) })
        .then(function (response) { return response.json(); })
        .catch(function (error) {
          return { err_msg: "get_brand_wcpay_request:fail", err_desc: String(error) };
        })
        .then(answer);
    },
    call: function () {},
    on: function () {}
  };
  var ready = function () { document.dispatchEvent(new Event("WeixinJSBridgeReady")); };
  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", ready);
  } else {
    setTimeout(ready, 0);
  }
})();
