// Verify SECRET ID TIMESTAMP SIGNATURE < BODY: exit code 0 where the stock library takes the delivery, 1 where it does not.
import static java.nio.charset.StandardCharsets.UTF_8;

import com.standardwebhooks.Webhook;
import com.standardwebhooks.exceptions.WebhookVerificationException;
import java.io.IOException;
import java.util.List;
import java.util.Map;

class Verify {
  public static void main(String[] args) throws IOException {
    Map<String, List<String>> headers =
        Map.of(
            "webhook-id", List.of(args[1]),
            "webhook-timestamp", List.of(args[2]),
            "webhook-signature", List.of(args[3]));
    String body = new String(System.in.readAllBytes(), UTF_8);
    try {
      new Webhook(args[0]).verify(body, headers);
    } catch (WebhookVerificationException why) {
      System.out.println(why.getMessage());
      System.exit(1);
    }
  }
}
