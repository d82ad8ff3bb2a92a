// SASL is not spoken yet. Its requests are offered all the same and answered as Kafka does on a
// listener without it: a client that is set to SASL then says so, rather than that it cannot
// connect.
#include "server/kafka/session.h"

namespace ringtail::kafka {

task::Task<void> Session::HandleSaslHandshake(Call* call) {
  SaslHandshakeRequest request;
  if (!DecodeBody(call, &request)) co_return;
  SaslHandshakeResponse response;
  response.error_code = Wire(ErrorCode::kIllegalSaslState);
  Respond(call, response);
}

task::Task<void> Session::HandleSaslAuthenticate(Call* call) {
  SaslAuthenticateRequest request;
  if (!DecodeBody(call, &request)) co_return;
  SaslAuthenticateResponse response;
  response.error_code = Wire(ErrorCode::kIllegalSaslState);
  response.error_message = "this listener has no SASL";
  Respond(call, response);
}

}  // namespace ringtail::kafka
