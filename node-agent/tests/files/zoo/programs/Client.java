import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.stream.Collectors;

/** Speaks to an address by Java's ways, and prints what each gives: its answer, or the class of its exception. */
final class Client {
    private static final int PATIENCE = 30_000;

    private interface Act {
        String act() throws Exception;
    }

    private static boolean done = true;

    private static void step(String name, Act act) throws Exception {
        try {
            System.out.println(name + " " + act.act());
        } catch (IOException error) {
            System.out.println(name + " " + error.getClass().getSimpleName());
            done = false;
        }
    }

    private static String name(Object address) {
        InetSocketAddress at = (InetSocketAddress) address;
        return at.getAddress().getHostAddress() + " " + at.getPort();
    }

    private static String stream(InetSocketAddress at) throws IOException {
        try (Socket socket = new Socket()) {
            socket.connect(at, PATIENCE);
            return name(socket.getRemoteSocketAddress());
        }
    }

    private static String channel(InetSocketAddress at) throws IOException {
        try (SocketChannel channel = SocketChannel.open(); Selector selector = Selector.open()) {
            channel.configureBlocking(false);
            channel.register(selector, SelectionKey.OP_CONNECT);
            if (!channel.connect(at)) {
                selector.select(PATIENCE);
                channel.finishConnect();
            }
            return name(channel.getRemoteAddress());
        }
    }

    private static String request(InetSocketAddress at) throws IOException, InterruptedException {
        String host = at.getAddress().getHostAddress();
        String base = "http://" + (host.contains(":") ? "[" + host + "]" : host) + ":" + at.getPort();
        HttpClient client = HttpClient.newHttpClient();
        var first = HttpRequest.newBuilder(URI.create(base + "/first")).build();
        var second = HttpRequest.newBuilder(URI.create(base + "/second")).POST(BodyPublishers.ofString("said")).build();
        var heard = client.send(first, BodyHandlers.ofString());
        var more = client.send(second, BodyHandlers.ofString());
        return heard.statusCode() + " " + heard.body() + " " + more.statusCode() + " " + more.body();
    }

    private static String datagram(InetSocketAddress at, boolean connected) throws IOException {
        try (DatagramSocket socket = new DatagramSocket()) {
            socket.setSoTimeout(PATIENCE);
            byte[] said = (connected ? "connected" : "unconnected").getBytes(StandardCharsets.UTF_8);
            DatagramPacket asked = new DatagramPacket(said, said.length, at);
            if (connected) {
                socket.connect(at);
            }
            socket.send(asked);
            DatagramPacket answer = new DatagramPacket(new byte[100], 100);
            socket.receive(answer);
            String text = new String(answer.getData(), 0, answer.getLength(), StandardCharsets.UTF_8);
            return name(answer.getSocketAddress()) + " " + text;
        }
    }

    private static String datagrams(InetSocketAddress at) throws IOException {
        try (DatagramChannel channel = DatagramChannel.open()) {
            channel.connect(at);
            channel.write(ByteBuffer.wrap("channel".getBytes(StandardCharsets.UTF_8)));
            channel.socket().setSoTimeout(PATIENCE);
            ByteBuffer answer = ByteBuffer.allocate(100);
            channel.read(answer);
            String text = new String(answer.array(), 0, answer.position(), StandardCharsets.UTF_8);
            return name(channel.getRemoteAddress()) + " " + text;
        }
    }

    private static String lookup(String name) throws IOException {
        return Arrays.stream(InetAddress.getAllByName(name))
            .map(InetAddress::getHostAddress)
            .sorted()
            .collect(Collectors.joining(" "));
    }

    public static void main(String[] args) throws Exception {
        String subject = args[1];
        if (args[0].equals("lookup")) {
            step("InetAddress", () -> lookup(subject));
        } else {
            InetSocketAddress at = new InetSocketAddress(subject, Integer.parseInt(args[2]));
            if (args[0].equals("tcp")) {
                step("Socket", () -> stream(at));
                step("SocketChannel", () -> channel(at));
                step("HttpClient", () -> request(at));
            } else {
                step("DatagramSocket", () -> datagram(at, false));
                step("DatagramSocket.connect", () -> datagram(at, true));
                step("DatagramChannel", () -> datagrams(at));
            }
        }
        System.exit(done ? 0 : 1);
    }
}
