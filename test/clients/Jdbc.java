// JDBC: UUID as uuid, String as varchar.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.util.UUID;

public class Jdbc {
	static Connection db;

	static void call(String expression, Object... values) throws Exception {
		try (PreparedStatement statement = db.prepareStatement("SELECT " + expression)) {
			for (int i = 0; i < values.length; i++)
				statement.setObject(i + 1, values[i]);
			try (ResultSet rows = statement.executeQuery()) {
				rows.next();
				System.out.println(rows.getString(1));
			}
		}
	}

	public static void main(String[] arguments) throws Exception {
		UUID dep = UUID.fromString(System.getenv("DEPLOYMENT"));
		UUID v1 = UUID.fromString(System.getenv("V1"));
		UUID v2 = UUID.fromString(System.getenv("V2"));
		UUID key = UUID.fromString(System.getenv("KEY"));

		db = DriverManager.getConnection(System.getenv("JDBC_URL"));
		call("miosa_promote(?, ?, ?) #>> '{operation,outcome}'", dep, v2, key);
		call("miosa_promote(?, ?, ?) #>> '{operation,outcome}'", dep.toString(), v2.toString(), key.toString());
		call("miosa_rollback(?, ?, ?, ?, ?, ?) #>> '{operation,outcome}'", dep, v1, "JDBC", "INC-7", v2, "{\"ticket\": 7}");
		call("miosa_plan(?, version_id => ?) #>> '{data,outcome}'", dep.toString(), v2.toString());
		call("miosa_deployment(?) #>> '{data,active_version_id}'", dep);
		call("miosa_wait_converged(?, ?)", dep, "1 s");
		db.close();
	}
}
